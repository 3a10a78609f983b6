import { Anchor, Badge, Button, Checkbox, FileInput, Group, NativeSelect, Stack, Table } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { type FormEvent, useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import { Problem, read, type Schemas, write } from "../api/client";
import { stale } from "../cache";
import { fieldSentence, label } from "../i18n";
import { customName, useCustomFields } from "../parts/custom_fields";
import { useNames } from "../parts/customer";
import { useSubmit } from "../parts/form";
import { More, usePages } from "../parts/pages";
import { ProblemAlert } from "../parts/problem";
import { useMay } from "../session";
import { fullMoment, moment } from "../time";

type Import = Schemas["Import"];
const fields = ["display_name", "kana", "phone", "email", "postal_code", "prefecture", "city", "town", "street", "building", "address", "birth_date", "customer_notes", "notes", "item_category", "item_description", "external_ref", "received_at"];
const parts = [["created", "#2f9e44"], ["updated", "#1c7ed6"], ["skipped", "#868e96"], ["rejected", "#c92a2a"]] as const;

/** Every row stands somewhere: created + updated + skipped + rejected, of all rows that are in. */
function Bar({ row }: { row: Schemas["ListedImport"] }) {
  const { t } = useTranslation();
  return (
    <div>
      <div className="bar" role="img" aria-label={parts.map(([p]) => `${t(`imports.${p}`)} ${row[p]}`).join(", ")}>
        {parts.map(([p, color]) => row[p] > 0 && <span key={p} title={`${t(`imports.${p}`)} ${row[p]}`} style={{ width: `${(100 * row[p]) / Math.max(1, row.rows_in)}%`, background: color }} />)}
      </div>
      <Group gap={10} fz={11.5} mt={2}>
        <span>{row.rows_done.toLocaleString()} / {row.rows_in.toLocaleString()}</span>
        {parts.map(([p, color]) => <span key={p}><span style={{ display: "inline-block", width: 8, height: 8, background: color, borderRadius: 2 }} /> {t(`imports.${p}`)} {row[p].toLocaleString()}</span>)}
      </Group>
    </div>
  );
}

function Rejects({ id }: { id: string }) {
  const { t } = useTranslation();
  const pages = usePages(["imports", id, "rejects"], (cursor) => read("/v1/imports/{import_id}/rejects", { path: { import_id: id }, query: { limit: 50, cursor } }));
  const { rows } = pages;
  return (
    <section className="sheet">
      <div className="heading">{t("imports.rejects")}<Button size="compact-xs" variant="default" component="a" href={`/v1/imports/${id}/rejects.csv`} download>{t("imports.download")}</Button></div>
      <ProblemAlert error={pages.error} />
      <Table>
        <Table.Thead><Table.Tr><Table.Th w={60}>{t("imports.line")}</Table.Th><Table.Th>{t("common.reason")}</Table.Th><Table.Th w="45%">CSV</Table.Th></Table.Tr></Table.Thead>
        <Table.Tbody>{rows.map((r) => <Table.Tr key={r.row_number}><Table.Td>{r.line}</Table.Td><Table.Td title={r.detail}>{fieldSentence(r.code, r.detail)} <span className="faint">{r.code}</span></Table.Td><Table.Td className="faint">{r.fields?.join(", ")}</Table.Td></Table.Tr>)}</Table.Tbody>
      </Table>
      <More pages={pages} />
    </section>
  );
}

function Mapping({ one, done }: { one: Import; done: () => void }) {
  const { t } = useTranslation();
  const own = useCustomFields("customer");
  const ownOfInquiry = useCustomFields("inquiry");
  const custom = new Map([...own.map((f) => [customName(f.key), f.label] as const), ...ownOfInquiry.map((f) => [`inquiry.${customName(f.key)}`, f.label] as const)]);
  const [mapping, setMapping] = useState<Record<number, string>>(() => Object.fromEntries(one.suggested_mapping.map((m) => [m.column, m.field])));
  const [asked, setAsked] = useState(true);
  const { busy, error, run } = useSubmit();
  const start = () =>
    run(async () => {
      await write("post", "/v1/imports/{import_id}/start", {
        path: { import_id: one.id },
        body: { mapping: Object.entries(mapping).filter(([, f]) => f).map(([column, field]) => ({ column: Number(column), field })), customer_initiated: asked },
      });
      await stale(["imports"]);
      done();
    });
  return (
    <section className="sheet">
      <div className="heading">{t("imports.mapping")} — {one.file_name}<span className="faint" style={{ fontWeight: 400 }}>{one.encoding}・{one.rows_in.toLocaleString()}{t("imports.line")}</span></div>
      <Table>
        <Table.Thead><Table.Tr><Table.Th>{t("imports.column")}</Table.Th><Table.Th>{t("imports.field")}</Table.Th><Table.Th /></Table.Tr></Table.Thead>
        <Table.Tbody>
          {one.columns.map((name, i) => (
            <Table.Tr key={i}>
              <Table.Td><b>{name || i + 1}</b></Table.Td>
              <Table.Td>
                <NativeSelect aria-label={`${t("imports.field")}: ${name || i + 1}`} value={mapping[i + 1] ?? ""} onChange={(e) => { const v = e.currentTarget.value; setMapping((m) => ({ ...m, [i + 1]: v })); }}
                  data={[{ value: "", label: t("imports.ignore") }, ...[...new Set([...fields, ...custom.keys(), mapping[i + 1] ?? ""])].filter(Boolean).map((f) => ({ value: f, label: custom.get(f) ?? label("importField", f) }))]} />
              </Table.Td>
              <Table.Td className="faint" style={{ fontSize: 12 }}>{one.preview.slice(0, 3).map((r) => r[i]).filter(Boolean).join(" / ")}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
      <Stack gap="xs" className="pad">
        <ProblemAlert error={error} />
        <Checkbox label={t("imports.asked")} checked={asked} onChange={(e) => setAsked(e.currentTarget.checked)} />
        <Group><Button onClick={() => void start()} loading={busy} data-start-import>{t("imports.start")}</Button></Group>
      </Stack>
    </section>
  );
}

/** One that failed goes on where it stopped, with the mapping it began with. */
function GoOn({ one, done }: { one: Import; done: () => void }) {
  const { t } = useTranslation();
  const { busy, error, run } = useSubmit();
  const start = () =>
    run(async () => {
      await write("post", "/v1/imports/{import_id}/start", { path: { import_id: one.id }, body: { mapping: one.mapping, customer_initiated: one.customer_initiated } });
      await stale(["imports"]);
      done();
    });
  return (
    <Stack gap="xs" mt="xs">
      <ProblemAlert error={error} />
      <Group><Button size="compact-sm" loading={busy} onClick={() => void start()} data-go-on>{t("imports.goOn")}</Button></Group>
    </Stack>
  );
}

export function ImportsPage() {
  const { t } = useTranslation();
  const may = useMay();
  const names = useNames();
  const [file, setFile] = useState<File | null>(null);
  const [media, setMedia] = useState("");
  const [shown, setShown] = useState<string>();
  const [known, setKnown] = useState<File>();
  const form = useSubmit();
  const list = usePages(["imports", "pages"], (cursor) => read("/v1/imports", { query: { limit: 50, cursor } }), { every: (all) => (all.some((i) => i.state === "RUNNING") ? 1000 : false) });
  const { rows } = list;
  const one = useQuery({ queryKey: ["imports", shown], enabled: Boolean(shown), queryFn: () => read("/v1/imports/{import_id}", { path: { import_id: shown as string } }), refetchInterval: (q) => (q.state.data?.state === "RUNNING" ? 1000 : false) });
  useEffect(() => {
    if (!media && names.mediaSources[0]) setMedia(names.mediaSources[0].id);
  }, [media, names.mediaSources]);
  const bringIn = (file: File, again: boolean) => {
    setKnown(undefined);
    return form.run(async () => {
      try {
        const made = await write("post", "/v1/imports", { query: { media_source_id: media, file_name: file.name, ...(again ? { again } : {}) }, file });
        setShown(made.id);
        // What comes back beyond that state is the import of the same file that was there before.
        if (!again && made.state !== "UPLOADED") setKnown(file);
        setFile(null);
        await stale(["imports"]);
      } catch (e) {
        if (e instanceof Problem && e.code === "FILE_IMPORTED") setKnown(file);
        throw e;
      }
    });
  };
  const upload = (event: FormEvent) => {
    event.preventDefault();
    if (file) void bringIn(file, false);
  };
  return (
    <main className="page">
      <Stack gap="sm">
        {may("create_import") && (
          <form onSubmit={upload} className="sheet pad">
            <ProblemAlert error={form.error} shown={["?media_source_id"]} />
            <Group align="end">
              <FileInput label={t("imports.file")} accept=".csv,text/csv" value={file} onChange={setFile} w={320} placeholder={t("common.choose")} />
              <NativeSelect label={t("imports.media")} value={media} onChange={(e) => setMedia(e.currentTarget.value)} data={names.mediaSources.map((m) => ({ value: m.id, label: m.name }))} error={form.at("?media_source_id")} />
              <Button type="submit" loading={form.busy} disabled={!file}>{t("imports.upload")}</Button>
            </Group>
            {known && (
              <Group mt="sm" className="warning" role="status">
                <span>{t("imports.known", { file: known.name })}</span>
                <Button size="compact-sm" variant="default" loading={form.busy} onClick={() => void bringIn(known, true)} data-again>{t("imports.again")}</Button>
              </Group>
            )}
          </form>
        )}
        {one.data && one.data.state === "UPLOADED" && may("start_import") && <Mapping key={one.data.id} one={one.data} done={() => void one.refetch()} />}
        {one.data && one.data.state !== "UPLOADED" && (
          <section className="sheet">
            <div className="heading">{one.data.file_name}<Badge color={one.data.state === "DONE" ? "green" : one.data.state === "FAILED" ? "red" : "blue"}>{label("importState", one.data.state)}</Badge></div>
            <div className="pad"><Bar row={one.data} />{one.data.error && <div className="warning" style={{ marginTop: 6 }}>{one.data.error}</div>}{one.data.state === "FAILED" && may("start_import") && <GoOn key={one.data.id} one={one.data} done={() => void one.refetch()} />}</div>
          </section>
        )}
        {one.data && one.data.rejected > 0 && <Rejects id={one.data.id} />}
        <section className="sheet">
          <div className="heading">{t("imports.title")}</div>
          <ProblemAlert error={list.error} retry={list.retry} />
          {list.none && <div className="pad faint">{t("imports.empty")}</div>}
          {rows.length > 0 && (
            <Table>
              <Table.Tbody>
                {rows.map((i) => (
                  <Table.Tr key={i.id}>
                    <Table.Td><button type="button" onClick={() => setShown(i.id)} className="link" style={{ fontWeight: 600 }}>{i.file_name}</button><div className="faint" style={{ fontSize: 11.5 }}>{names.media(i.media_source_id)}</div></Table.Td>
                    <Table.Td title={fullMoment(i.created_at)} style={{ whiteSpace: "nowrap" }}>{moment(i.created_at)}</Table.Td>
                    <Table.Td><Badge color={i.state === "DONE" ? "green" : i.state === "FAILED" ? "red" : "blue"}>{label("importState", i.state)}</Badge></Table.Td>
                    <Table.Td w="45%"><Bar row={i} /></Table.Td>
                    {may("put_back") && <Table.Td>{i.state !== "UPLOADED" && <Anchor component={Link} to="/put-backs" search={{ kind: "IMPORT", import_id: i.id } as never} fz="xs">{t("putBack.ofImport")}</Anchor>}</Table.Td>}
                  </Table.Tr>
                ))}
              </Table.Tbody>
            </Table>
          )}
          <More pages={list} />
        </section>
      </Stack>
    </main>
  );
}
