// Two people edit one record. Who saves second is told so (412) and keeps what they typed: fields they did not touch take the fresh value, and
// only those that both changed to different things are asked about.
//
//   const merge = useMerge(valuesOf(record), record.version);
//   … merge.set("notes", text); write(…, { version: merge.version }) …
//   catch (e) { setError(await merge.meet(e, async () => { const now = await read(…); return { values: valuesOf(now), version: now.version }; })); }
import { Button, Table, Text } from "@mantine/core";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { Problem } from "../api/client";

export type Values = Record<string, unknown>;
export interface Fresh { values: Values; version: number | undefined }
/** A field that is not there, null and "" are one thing: nothing. */
const same = (a: unknown, b: unknown) => JSON.stringify(a ?? "") === JSON.stringify(b ?? "");

export function useMerge(start: Values | (() => Values), version: number | undefined) {
  const [base, setBase] = useState<Fresh>(() => ({ values: typeof start === "function" ? start() : start, version }));
  const [values, setValues] = useState(base.values);
  const [met, setMet] = useState<{ contested: string[]; taken: string[] }>();
  const set = (name: string, value: unknown) => setValues((v) => ({ ...v, [name]: value }));
  const changed = (name: string) => !same(values[name], base.values[name]);
  /** After a failed save: what is left to show of it. A 412 becomes a merge with what `reload` says; undefined from it: the record is gone. */
  const meet = async (error: unknown, reload: (() => Promise<Fresh | undefined>) | undefined): Promise<unknown> => {
    if (!(error instanceof Problem && error.status === 412 && reload)) return error;
    let fresh: Fresh | undefined;
    try {
      fresh = await reload();
    } catch (e) {
      return e;
    }
    if (!fresh) return new Problem(404, "NOT_FOUND", "");
    const now = fresh.values;
    const theirs = [...new Set([...Object.keys(now), ...Object.keys(base.values)])].filter((name) => !same(now[name], base.values[name]));
    const mine = Object.keys(values).filter(changed);
    setMet({ contested: theirs.filter((name) => mine.includes(name) && !same(now[name], values[name])), taken: theirs.filter((name) => !mine.includes(name)) });
    setValues((v) => ({ ...now, ...Object.fromEntries(Object.entries(v).filter(([name, value]) => !same(value, base.values[name]))) }));
    setBase(fresh);
    return undefined;
  };
  return { values, base: base.values, version: base.version, met, set, setValues, changed, meet };
}

/** What the other one saved: beside what was typed where both changed it, by name where it was taken over. */
export function Theirs({ merge, fields }: { merge: ReturnType<typeof useMerge>; fields: { name: string; label: string; text: (value: unknown) => string }[] }) {
  const { t } = useTranslation();
  if (!merge.met) return null;
  const { contested, taken } = merge.met;
  const differing = fields.filter((f) => contested.includes(f.name) && merge.changed(f.name));
  const others = fields.filter((f) => taken.includes(f.name));
  return (
    <div className="warning" role="alert">
      {t("customer.theirs")}
      <Text fz="xs" fw={400}>{differing.length > 0 ? t("customer.theirsHint") : t("customer.mergedHint")}</Text>
      {others.length > 0 && <Text fz="xs" fw={400} data-taken={others.map((f) => f.name).join(" ")}>{t("customer.merged", { fields: others.map((f) => f.label).join("、") })}</Text>}
      {differing.length > 0 && (
        <Table mt={4} withRowBorders={false}>
          <Table.Thead>
            <Table.Tr><Table.Th /><Table.Th>{t("customer.theirValue")}</Table.Th><Table.Th>{t("customer.myValue")}</Table.Th><Table.Th /></Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {differing.map((f) => (
              <Table.Tr key={f.name}>
                <Table.Td>{f.label}</Table.Td>
                <Table.Td data-theirs={f.name}>{f.text(merge.base[f.name])}</Table.Td>
                <Table.Td>{f.text(merge.values[f.name])}</Table.Td>
                <Table.Td><Button size="compact-xs" variant="default" onClick={() => merge.set(f.name, merge.base[f.name])}>{t("customer.takeTheirs")}</Button></Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      )}
    </div>
  );
}
