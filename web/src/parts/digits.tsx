// Numbers as Japanese keyboards type them: ０９０ー１２３４ is 0901234.
import { TextInput, type TextInputProps } from "@mantine/core";
import { type CompositionEvent, useState } from "react";

/** Its digits, of any width. */
export const digits = (text: string): string => text.normalize("NFKC").replace(/\D/g, "");
/** As the server reads phones: of normal width, the long vowel mark and its likes as hyphens. */
export const plainPhone = (text: string): string => text.normalize("NFKC").replace(/[ー‐‑–—−]/g, "-").trim();
/** Digits with what stands between those of a phone: somebody looks for a phone. */
export const isPhone = (text: string): boolean => /^[\d\s()+-]+$/.test(plainPhone(text));

/** A field of digits only. While an IME composes its value is left alone: rewriting it would break the composition. */
export function DigitsInput({ value, change, most, ...props }: Omit<TextInputProps, "value" | "onChange"> & { value: string; change: (digits: string) => void; most?: number }) {
  const [composed, setComposed] = useState<string>();
  const take = (text: string) => change(digits(text).slice(0, most));
  return (
    <TextInput inputMode="numeric" {...props} value={composed ?? value}
      onCompositionStart={() => setComposed(value)}
      onCompositionEnd={(e: CompositionEvent<HTMLInputElement>) => { setComposed(undefined); take(e.currentTarget.value); }}
      onChange={(e) => (composed === undefined ? take(e.currentTarget.value) : setComposed(e.currentTarget.value))} />
  );
}
