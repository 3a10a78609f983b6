// Media sources, item categories and custom fields: short lists in an order of their own.
import { Badge, Button, Table } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { type ReactNode, useState } from "react";
import { useTranslation } from "react-i18next";
import { read, type Schemas, write } from "../api/client";
import { stale } from "../cache";
import { label } from "../i18n";
import { type Field, Listing, RecordForm } from "./record";

interface Master { id: string; version: number; position: number; active?: boolean }

function Masters<T extends Master>({ title, about, empty, newLabel, queryKey, load, head, cells, fields, create, change, hide, one, initial }: {
  title: string; about: string; empty: string; newLabel: string; queryKey: string;
  load: () => Promise<{ items: T[] }>;
  head: string[];
  cells: (row: T) => ReactNode[];
  fields: Field[] | ((values: Record<string, unknown>) => Field[]);
  create: (body: never) => Promise<unknown>;
  change: (id: string, body: never, version: number) => Promise<unknown>;
  hide: (id: string, version: number) => Promise<unknown>;
  one: (id: string) => Promise<unknown>;
  initial: Record<string, unknown>;
}) {
  const { t } = useTranslation();
  const [editing, setEditing] = useState<{ row?: T }>();
  const list = useQuery({ queryKey: [queryKey, "settings"], queryFn: load });
  const rows = list.data?.items ?? [];
  const refresh = () => stale([queryKey]);
  return (
    <>
      <Listing title={title} about={about} add={() => setEditing({})} addLabel={newLabel} error={list.error} retry={() => void list.refetch()} empty={list.data?.items.length === 0 && empty} head={[...head, ""]}>
        {rows.map((row) => (
          <Table.Tr key={row.id} data-row={row.id}>
            {cells(row).map((cell, i) => <Table.Td key={head[i]}>{cell}</Table.Td>)}
            <Table.Td ta="right" style={{ whiteSpace: "nowrap" }}>{row.active === false && <Badge color="gray" mr={6}>{t("admin.inactive")}</Badge>}<Button size="compact-xs" variant="default" onClick={() => setEditing({ row })}>{t("common.edit")}</Button></Table.Td>
          </Table.Tr>
        ))}
      </Listing>
      {editing && (
        <RecordForm title={editing.row ? t("common.edit") : newLabel} record={editing.row as never} initial={{ position: (rows.at(-1)?.position ?? 0) + 10, ...initial }} fields={fields} close={() => setEditing(undefined)}
          save={async (body, version) => {
            if (editing.row) await change(editing.row.id, body as never, version as number);
            else await create(body as never);
            await refresh();
          }}
          remove={async (version) => {
            if (editing.row) await hide(editing.row.id, version);
            await refresh();
          }}
          reload={async () => (editing.row ? ((await one(editing.row.id)) as never) : undefined)} />
      )}
    </>
  );
}

const codeHint = "settings.codeHint" as const;

export function MediaSection() {
  const { t } = useTranslation();
  return (
    <Masters<Schemas["MediaSource"]> title={t("settings.media")} about={t("media.about")} empty={t("media.empty")} newLabel={t("media.new")} queryKey="media-sources" initial={{ active: true }}
      load={() => read("/v1/media-sources", { query: { inactive: true } })}
      head={[t("settings.code"), t("common.name"), t("media.dnis"), t("settings.position")]} cells={(m) => [<code key="c">{m.code}</code>, m.name, m.dnis ?? "", m.position]}
      fields={[
        { name: "code", label: t("settings.code"), hint: t(codeHint), kind: "code", required: true },
        { name: "name", label: t("common.name"), kind: "text", required: true },
        { name: "dnis", label: t("media.dnis"), hint: t("media.dnisHint"), kind: "code" },
        { name: "position", label: t("settings.position"), hint: t("settings.positionHint"), kind: "number", min: 0, max: 1_000_000 },
        { name: "active", label: t("settings.activeHint"), kind: "check" },
      ]}
      create={(body) => write("post", "/v1/media-sources", { body: withFalse(body, "active") })} change={(id, body, version) => write("patch", "/v1/media-sources/{media_source_id}", { path: { media_source_id: id }, body, version })}
      hide={(id, version) => write("delete", "/v1/media-sources/{media_source_id}", { path: { media_source_id: id }, version })} one={(id) => read("/v1/media-sources/{media_source_id}", { path: { media_source_id: id } })} />
  );
}

export function CategoriesSection() {
  const { t } = useTranslation();
  return (
    <Masters<Schemas["ItemCategory"]> title={t("settings.categories")} about={t("categories.about")} empty={t("categories.empty")} newLabel={t("categories.new")} queryKey="item-categories" initial={{ active: true, home_visit_law: true }}
      load={() => read("/v1/item-categories", { query: { inactive: true } })}
      head={[t("settings.code"), t("settings.name_ja"), t("settings.name_en"), t("categories.law"), t("settings.position")]}
      cells={(c) => [<code key="c">{c.code}</code>, c.name_ja, c.name_en, c.home_visit_law ? <Badge key="l">{t("categories.applies")}</Badge> : <Badge key="l" color="gray">{t("categories.appliesNot")}</Badge>, c.position]}
      fields={[
        { name: "code", label: t("settings.code"), hint: t(codeHint), kind: "code", required: true },
        { name: "name_ja", label: t("settings.name_ja"), kind: "text", required: true },
        { name: "name_en", label: t("settings.name_en"), kind: "text", required: true },
        { name: "home_visit_law", label: t("categories.lawHint"), kind: "check" },
        { name: "position", label: t("settings.position"), hint: t("settings.positionHint"), kind: "number", min: 0, max: 1_000_000 },
        { name: "active", label: t("settings.activeHint"), kind: "check" },
      ]}
      create={(body) => write("post", "/v1/item-categories", { body: withFalse(body, "home_visit_law", "active") })} change={(id, body, version) => write("patch", "/v1/item-categories/{item_category_id}", { path: { item_category_id: id }, body, version })}
      hide={(id, version) => write("delete", "/v1/item-categories/{item_category_id}", { path: { item_category_id: id }, version })} one={(id) => read("/v1/item-categories/{item_category_id}", { path: { item_category_id: id } })} />
  );
}

/** A box that was unticked in a new record is left out of it; where the server takes absence for yes, no must be said. */
function withFalse(body: never, ...names: string[]): never {
  return { ...Object.fromEntries(names.map((n) => [n, false])), ...(body as object) } as never;
}

const kinds = ["TEXT", "INTEGER", "BOOLEAN", "DATE", "CHOICE"];
export function FieldsSection() {
  const { t } = useTranslation();
  return (
    <Masters<Schemas["CustomField"]> title={t("settings.fields")} about={t("fields.about")} empty={t("fields.empty")} newLabel={t("fields.new")} queryKey="custom-fields" initial={{ entity: "customer", kind: "TEXT" }}
      load={() => read("/v1/custom-fields")}
      head={[t("fields.entity"), t("fields.key"), t("settings.name_ja"), t("settings.name_en"), t("fields.kind"), t("fields.required"), t("settings.position")]}
      cells={(f) => [label("fieldEntity", f.entity), <code key="k">{f.key}</code>, f.label_ja, f.label_en, `${label("fieldKind", f.kind)}${f.choices.length > 0 ? `（${f.choices.join("、")}）` : ""}`, f.required ? t("common.yes") : "", f.position]}
      fields={(values) => [
        { name: "entity", label: t("fields.entity"), kind: "choice", required: true, fixed: true, options: ["customer", "inquiry"].map((e) => ({ value: e, label: label("fieldEntity", e) })) },
        { name: "key", label: t("fields.key"), hint: t("fields.keyHint"), kind: "code", required: true, fixed: true },
        { name: "label_ja", label: t("settings.name_ja"), kind: "text", required: true },
        { name: "label_en", label: t("settings.name_en"), kind: "text", required: true },
        { name: "kind", label: t("fields.kind"), kind: "choice", required: true, fixed: true, options: kinds.map((k) => ({ value: k, label: label("fieldKind", k) })) },
        ...(values.kind === "CHOICE" ? [{ name: "choices", label: t("fields.choices"), hint: t("fields.choicesHint"), kind: "words" as const, required: true }] : []),
        { name: "required", label: t("fields.requiredHint"), kind: "check" },
        { name: "position", label: t("settings.position"), hint: t("settings.positionHint"), kind: "number", min: 0, max: 1_000_000 },
      ]}
      create={(body) => write("post", "/v1/custom-fields", { body })} change={(id, body, version) => write("patch", "/v1/custom-fields/{custom_field_id}", { path: { custom_field_id: id }, body, version })}
      hide={(id, version) => write("delete", "/v1/custom-fields/{custom_field_id}", { path: { custom_field_id: id }, version })} one={(id) => read("/v1/custom-fields/{custom_field_id}", { path: { custom_field_id: id } })} />
  );
}
