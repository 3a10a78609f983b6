// Settings are lists of small records that are edited alike. A form is a list of fields; only what was changed is sent; who comes second sees
// what the first one wrote and keeps what they typed.
//
//   <RecordForm title=… fields={[{ name: "name", label: t("common.name"), kind: "text", required: true }]} record={area} close={…}
//     save={(body, version) => …} reload={() => read(…)} />
import { Button, Checkbox, Group, Modal, MultiSelect, NativeSelect, NumberInput, Stack, Table, Text, Textarea, TextInput } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { type FormEvent, type ReactNode, useState } from "react";
import { useTranslation } from "react-i18next";
import { fieldError } from "../api/client";
import { holdEnterWhileComposing } from "../keyboard";
import { Theirs, useMerge, type Values } from "../parts/merge";
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

export function RecordForm({ title, fields, record, initial, about, save, reload, remove, close, submitLabel, children }: {
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
  children?: ReactNode;
}) {
  const { t } = useTranslation();
  const of = (values: Values) => (typeof fields === "function" ? fields(values) : fields);
  const read = (from: Values): Values => Object.fromEntries(of(from).map((f) => [f.name, shownAs(f, from[f.name])]));
  const merge = useMerge(() => read(record ?? initial ?? {}), record?.version);
  const { values, set } = merge;
  const [error, setError] = useState<unknown>();
  const [busy, setBusy] = useState(false);
  const all = of(values);
  const same = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);
  const run = async (action: () => Promise<unknown>) => {
    setBusy(true);
    setError(undefined);
    try {
      await action();
      notifications.show({ message: t("common.saved"), color: "green" });
      close();
    } catch (e) {
      setError(await merge.meet(e, reload && (async () => {
        const fresh = await reload();
        return fresh && { values: read(fresh), version: fresh.version };
      })));
    } finally {
      setBusy(false);
    }
  };
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const wanted = all.filter((f) => (record ? !f.fixed && merge.changed(f.name) : f.required || !same(values[f.name], shownAs(f, undefined))));
    if (record && wanted.length === 0) return close();
    void run(() => save(Object.fromEntries(wanted.map((f) => [f.name, sentAs(f, values[f.name])])), merge.version));
  };
  const text = (f: Field, value: unknown) =>
    f.kind === "check" ? t(value ? "common.yes" : "common.no") : "options" in f ? [value].flat().map((v) => f.options.find((o) => o.value === v)?.label ?? String(v)).join("、") || "—" : String(value).replaceAll("\n", "、") || "—";
  return (
    <Modal opened onClose={close} title={title} size="lg" closeOnClickOutside={false}>
      <form onSubmit={submit} onKeyDown={holdEnterWhileComposing} noValidate={false}>
        <Stack gap="sm">
          {about && <Text fz="sm" className="faint" component="div">{about}</Text>}
          <Theirs merge={merge} fields={all.map((f) => ({ name: f.name, label: f.label, text: (value) => text(f, value) }))} />
          <ProblemAlert error={error} shown={all.map(pointer)} />
          {all.map((f, i) => {
            const common = { label: f.label, description: f.hint, error: fieldError(error, pointer(f)), disabled: Boolean(record && f.fixed), name: f.name, required: f.required, "data-autofocus": i === 0 || undefined };
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
          <Group justify="space-between" mt={4}>
            {record && remove ? <Button variant="subtle" color="red" disabled={busy} onClick={() => void run(() => remove(merge.version as number))}>{t("common.remove")}</Button> : <span />}
            <Group gap="xs"><Button variant="default" onClick={close}>{t("common.cancel")}</Button><Button type="submit" loading={busy}>{submitLabel ?? t("common.save")}</Button></Group>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}

/** A list of settings: what it is for, its rows, and what to do when there are none. */
export function Listing({ title, about, add, addLabel, error, retry, empty, head, more, loadingMore, children }: {
  title: string;
  about?: ReactNode;
  add?: () => void;
  addLabel?: string;
  error?: unknown;
  retry?: () => void;
  empty?: string | false;
  head?: string[];
  more?: () => void;
  loadingMore?: boolean;
  children: ReactNode;
}) {
  const { t } = useTranslation();
  return (
    <section className="sheet">
      <div className="heading"><h2 style={{ all: "unset" }}>{title}</h2>{add && <Button size="compact-sm" onClick={add} data-add>{addLabel ?? t("common.add")}</Button>}</div>
      {about && <div className="pad faint" style={{ fontSize: 13, paddingBottom: 4 }}>{about}</div>}
      {Boolean(error) && <div className="pad"><ProblemAlert error={error} retry={retry} /></div>}
      {empty && <div className="pad faint" data-empty>{empty}</div>}
      {head && !empty ? (
        <Table.ScrollContainer minWidth={520}>
          <Table>
            <Table.Thead><Table.Tr>{head.map((h, i) => <Table.Th key={h || i} scope="col">{h}</Table.Th>)}</Table.Tr></Table.Thead>
            <Table.Tbody>{children}</Table.Tbody>
          </Table>
        </Table.ScrollContainer>
      ) : !empty && children}
      {more && <div className="pad"><Button variant="default" loading={loadingMore} onClick={more}>{t("common.more")}</Button></div>}
    </section>
  );
}
