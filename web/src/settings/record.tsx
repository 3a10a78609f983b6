// Settings are lists of small records that are edited alike. A form is a list of fields; only what was changed is sent; who comes second sees
// what the first one wrote and keeps what they typed.
//
//   <RecordForm title=… fields={[{ name: "name", label: t("common.name"), kind: "text", required: true }]} record={area} close={…}
//     save={(body, version) => …} reload={() => read(…)} />
import { Button, Checkbox, MultiSelect, NativeSelect, NumberInput, Table, Textarea, TextInput } from "@mantine/core";
import type { ReactNode } from "react";
import { useTranslation } from "react-i18next";
import { FormModal, tellSaved, useSubmit } from "../parts/form";
import { Theirs, useMerge, type Values } from "../parts/merge";
import { More, type usePages } from "../parts/pages";
import { ProblemAlert } from "../parts/problem";
import { fromInput, toInput } from "../time";

export interface Option { value: string; label: string }
interface Common { name: string; label: string; hint?: string; required?: boolean; fixed?: boolean }
export type Field = Common & (
  | { kind: "text" | "area" | "code" | "check" | "words" | "date" | "time" | "moment" }
  | { kind: "number"; min?: number; max?: number }
  | { kind: "choice" | "many"; options: Option[] }
);
/** "custom.age" is the field at /custom/age. */
const pointer = (field: Field) => `/${field.name.replace(".", "/")}`;
type Stored = { version?: number } & Record<string, unknown>;

const shownAs = (field: Field, value: unknown): unknown => {
  if (field.kind === "words") return Array.isArray(value) ? value.join("\n") : "";
  if (field.kind === "many") return Array.isArray(value) ? value : [];
  if (field.kind === "check") return Boolean(value);
  if (field.kind === "moment") return typeof value === "string" ? toInput(value) : "";
  return value === null || value === undefined ? "" : typeof value === "number" && field.kind === "number" ? value : String(value);
};
const sentAs = (field: Field, value: unknown): unknown => {
  if (field.kind === "words") return [...new Set(String(value).split(/[\s,、，]+/u).filter(Boolean))];
  if (field.kind === "moment") return fromInput(String(value)) ?? null;
  if (field.kind === "number") return value === "" ? null : Number(value);
  if (field.kind === "choice" || field.kind === "date") return value === "" ? null : value;
  return value;
};

export function RecordForm({ title, fields, record, initial, about, save, reload, remove, close, submitLabel, name, color, quiet, children }: {
  title: string;
  fields: Field[] | ((values: Values) => Field[]);
  record?: Stored;
  initial?: Values;
  about?: ReactNode;
  save: (body: Record<string, unknown>, version: number | undefined) => Promise<unknown>;
  reload?: () => Promise<Stored | undefined>;
  remove?: (version: number) => Promise<unknown>;
  close: () => void;
  submitLabel?: string;
  name?: string;
  color?: string;
  /** What was done is told by `save` itself. */
  quiet?: boolean;
  children?: ReactNode;
}) {
  const { t } = useTranslation();
  const of = (values: Values) => (typeof fields === "function" ? fields(values) : fields);
  const read = (from: Values): Values => Object.fromEntries(of(from).map((f) => [f.name, shownAs(f, from[f.name])]));
  const merge = useMerge(() => read(record ?? initial ?? {}), record?.version);
  const { values, set } = merge;
  const form = useSubmit((error) => merge.meet(error, reload && (async () => {
    const fresh = await reload();
    return fresh && { values: read(fresh), version: fresh.version };
  })));
  const all = of(values);
  const same = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);
  const run = (action: () => Promise<unknown>) =>
    form.run(async () => {
      await action();
      if (!quiet) tellSaved();
      close();
    });
  const submit = () => {
    const wanted = all.filter((f) => (record ? !f.fixed && merge.changed(f.name) : f.required || !same(values[f.name], shownAs(f, undefined))));
    if (record && wanted.length === 0) return close();
    void run(() => save(Object.fromEntries(wanted.map((f) => [f.name, sentAs(f, values[f.name])])), merge.version));
  };
  const text = (f: Field, value: unknown) =>
    f.kind === "check" ? t(value ? "common.yes" : "common.no") : "options" in f ? [value].flat().map((v) => f.options.find((o) => o.value === v)?.label ?? String(v)).join("、") || "—" : String(value).replaceAll("\n", "、") || "—";
  return (
    <FormModal form={form} title={title} close={close} submit={submit} label={submitLabel} name={name} color={color} size="lg" about={about} shown={all.map(pointer)} dirty={all.some((f) => merge.changed(f.name))}
      aside={record && remove && <Button variant="subtle" color="red" disabled={form.busy} onClick={() => void run(() => remove(merge.version as number))}>{t("common.remove")}</Button>}>
      <Theirs merge={merge} fields={all.map((f) => ({ name: f.name, label: f.label, text: (value) => text(f, value) }))} />
      {all.map((f, i) => {
        const common = { label: f.label, description: f.hint, error: form.at(pointer(f)), disabled: Boolean(record && f.fixed), name: f.name, required: f.required, "data-autofocus": i === 0 || undefined };
        const value = values[f.name] ?? shownAs(f, undefined);
        switch (f.kind) {
          case "check":
            return <Checkbox key={f.name} {...common} required={false} checked={Boolean(value)} onChange={(e) => set(f.name, e.currentTarget.checked)} />;
          case "number":
            return <NumberInput key={f.name} {...common} value={value as number | string} min={f.min} max={f.max} allowDecimal={false} onChange={(v) => set(f.name, v)} />;
          case "choice":
            return <NativeSelect key={f.name} {...common} value={String(value)} onChange={(e) => set(f.name, e.currentTarget.value)} data={f.required && value !== "" ? f.options : [{ value: "", label: f.required ? t("common.choose") : t("common.none") }, ...f.options]} />;
          case "many":
            return <MultiSelect key={f.name} {...common} required={false} withAsterisk={f.required} searchable value={value as string[]} onChange={(v) => set(f.name, v)} data={f.options} maxDropdownHeight={260} />;
          case "area":
          case "words":
            return <Textarea key={f.name} {...common} autosize minRows={2} maxRows={12} value={String(value)} onChange={(e) => set(f.name, e.currentTarget.value)} />;
          default:
            return <TextInput key={f.name} {...common} value={String(value)} onChange={(e) => set(f.name, e.currentTarget.value)} type={f.kind === "moment" ? "datetime-local" : f.kind === "date" || f.kind === "time" ? f.kind : "text"} {...(f.kind === "code" ? { spellCheck: false, autoCapitalize: "off" } : {})} />;
        }
      })}
      {children}
    </FormModal>
  );
}

/** A list: what it is for, its rows, and what to do when there are none. Of `pages` it shows the error, the end, and the button for more. */
export function Listing({ title, about, add, addLabel, pages, error = pages?.error, retry = pages?.retry, empty, head, children }: {
  title: string;
  about?: ReactNode;
  add?: () => void;
  addLabel?: string;
  pages?: Omit<ReturnType<typeof usePages>, "rows">;
  error?: unknown;
  retry?: () => void;
  empty?: string | false;
  head?: string[];
  children: ReactNode;
}) {
  const { t } = useTranslation();
  const nothing = (!pages || pages.none) && empty;
  return (
    <section className="sheet">
      <div className="heading"><h2 style={{ all: "unset" }}>{title}</h2>{add && <Button size="compact-sm" onClick={add} data-add>{addLabel ?? t("common.add")}</Button>}</div>
      {about && <div className="pad faint" style={{ fontSize: 13, paddingBottom: 4 }}>{about}</div>}
      {Boolean(error) && <div className="pad"><ProblemAlert error={error} retry={retry} /></div>}
      {nothing && <div className="pad faint" data-empty>{nothing}</div>}
      {head && !nothing ? (
        <Table.ScrollContainer minWidth={head.length > 4 ? 760 : 520}>
          <Table>
            <Table.Thead><Table.Tr>{head.map((h, i) => <Table.Th key={h || i} scope="col">{h}</Table.Th>)}</Table.Tr></Table.Thead>
            <Table.Tbody>{children}</Table.Tbody>
          </Table>
        </Table.ScrollContainer>
      ) : !nothing && children}
      {pages && <More pages={pages} />}
    </section>
  );
}
