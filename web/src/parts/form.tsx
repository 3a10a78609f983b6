// A form over the page. What was typed stays until it is saved or thrown away on purpose: Escape asks once something was typed, an error is shown
// beside the input, a click outside closes nothing, and an Enter that ends a composition submits nothing.
//
//   const form = useSubmit();
//   <FormModal form={form} title=… close={close} submit={() => form.run(async () => { await write(…); close(); })} shown={["/reason"]}>
//     <Textarea label=… error={form.at("/reason")} … />
//   </FormModal>
import { Button, Group, Modal, Stack, Text } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { type ReactNode, useEffect, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { fieldError } from "../api/client";
import i18n from "../i18n";
import { ProblemAlert, problemText } from "./problem";

/** One write at a time, and what went wrong with it. `meet` may make something else of an error: a 412 becomes a merge. */
export function useSubmit(meet?: (error: unknown) => unknown) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>();
  /** True when it was done. */
  const run = async (action: () => Promise<unknown>): Promise<boolean> => {
    setBusy(true);
    setError(undefined);
    try {
      await action();
      return true;
    } catch (e) {
      setError(meet ? await meet(e) : e);
      return false;
    } finally {
      setBusy(false);
    }
  };
  return { busy, error, run, setError, at: (pointer: string) => fieldError(error, pointer) };
}
export type Form = ReturnType<typeof useSubmit>;

export const tellSaved = (message: string = i18n.t("common.saved")) => notifications.show({ message, color: "green" });
/** Where there is no form to show it in. */
export const tellProblem = (error: unknown) => notifications.show({ message: problemText(error), color: "red" });

/** `dirty`: whether something was typed, where the form knows better than by its inputs (a choice from a list is no input). `aside`: what
 * stands opposite of the buttons. */
export function FormModal({ form, title, close, submit, label, cancelLabel, ready = true, dirty, color, size = "md", about, shown = [], aside, name, children }: {
  form: Form;
  title: string;
  close: () => void;
  submit: () => unknown;
  label?: string;
  cancelLabel?: string;
  ready?: boolean;
  dirty?: boolean;
  color?: string;
  size?: string;
  about?: ReactNode;
  shown?: string[];
  aside?: ReactNode;
  name?: string;
  children?: ReactNode;
}) {
  const { t } = useTranslation();
  const [typed, setTyped] = useState(false);
  const [leaving, setLeaving] = useState(false);
  const box = useRef<HTMLFormElement>(null);
  const keep = useRef<HTMLButtonElement>(null);
  const wasIn = useRef<Element>(null);
  useEffect(() => {
    if (form.error) box.current?.querySelector<HTMLElement>('[aria-invalid="true"], input[data-invalid="true"]')?.focus();
  }, [form.error]);
  useEffect(() => {
    if (leaving) keep.current?.focus();
  }, [leaving]);
  const stay = () => {
    setLeaving(false);
    if (wasIn.current instanceof HTMLElement) wasIn.current.focus();
  };
  const leave = () => {
    if (form.busy) return;
    if (leaving) return stay();
    if (!(dirty ?? typed)) return close();
    wasIn.current = document.activeElement;
    setLeaving(true);
  };
  return (
    <Modal opened onClose={leave} title={title} size={size} closeOnClickOutside={false}>
      <form ref={box} onChange={() => setTyped(true)} data-form={name}
        onSubmit={(event) => {
          event.preventDefault();
          if (ready && !form.busy && !leaving) void submit();
        }}>
        <Stack gap="sm">
          {about && <Text fz="sm" className="faint" component="div">{about}</Text>}
          <ProblemAlert error={form.error} shown={shown} />
          {children}
          {/* Keys, for a button that became the one that submits while it is being pressed would submit. */}
          {leaving ? (
            <Group key="leaving" justify="space-between" className="warning" role="alert" data-leaving>
              <span>{t("form.unsaved")}</span>
              <Group gap="xs">
                <Button variant="default" onClick={close} data-discard>{t("form.discard")}</Button>
                <Button ref={keep} onClick={stay} data-keep>{t("form.keep")}</Button>
              </Group>
            </Group>
          ) : (
            <Group key="going on" justify="space-between" mt={4}>
              {aside ?? <span />}
              <Group gap="xs">
                <Button variant="default" onClick={close} data-autofocus={!children || undefined}>{cancelLabel ?? t("common.cancel")}</Button>
                <Button type="submit" loading={form.busy} disabled={!ready} color={color} data-do={name}>{label ?? t("common.save")}</Button>
              </Group>
            </Group>
          )}
        </Stack>
      </form>
    </Modal>
  );
}
