import { ActionIcon, Button, Group, Select, Table, TextInput } from "@mantine/core";
import { IconX } from "@tabler/icons-react";
import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { read } from "../api/client";
import { label } from "../i18n";
import { useUsers } from "../parts/people";
import { CustomerHits } from "../parts/pick_customer";
import { ProblemAlert } from "../parts/problem";
import { operationName } from "../settings/operations";
import { Listing } from "../settings/record";
import { fromInput, fullMoment } from "../time";

/** A customer to filter by: found by name or phone, as everywhere. */
export function PickCustomer({ id, pick }: { id: string | undefined; pick: (id: string | undefined) => void }) {
  const { t } = useTranslation();
  const [find, setFind] = useState("");
  const known = useQuery({ queryKey: ["customer", id, "name"], enabled: Boolean(id), queryFn: () => read("/v1/customers/{customer_id}", { path: { customer_id: id as string } }) as Promise<{ display_name: string }> });
  if (id)
    return (
      <TextInput label={t("inquiry.customer")} readOnly value={known.data?.display_name ?? "…"} w={240} rightSection={<ActionIcon variant="subtle" size="sm" aria-label={t("views.anyCustomer")} onClick={() => pick(undefined)}><IconX size={14} /></ActionIcon>} />
    );
  return (
    <div style={{ position: "relative" }}>
      <TextInput label={t("inquiry.customer")} placeholder={t("views.findCustomer")} value={find} onChange={(e) => setFind(e.currentTarget.value)} w={240} name="customer" />
      {find.trim() && <div className="sheet" style={{ position: "absolute", zIndex: 5, width: 320, boxShadow: "0 4px 14px #0003" }}><CustomerHits find={find} pick={(chosen) => { setFind(""); pick(chosen); }} /></div>}
    </div>
  );
}

/** Who saw whose data: by person, by customer, by time; the filters stand in the address, so that a finding can be passed on. */
export function ViewsPage() {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const search = useSearch({ from: "/app/views" });
  const users = useUsers();
  const set = (change: Partial<typeof search>) => void navigate({ to: "/views", search: { ...search, ...change }, replace: true });
  const pages = useInfiniteQuery({
    queryKey: ["personal-data-views", search],
    initialPageParam: undefined as string | undefined,
    queryFn: ({ pageParam, signal }) =>
      read("/v1/personal-data-views", { query: { limit: 50, cursor: pageParam, user_id: search.user, entity_id: search.customer, from: fromInput(search.from ?? ""), to: fromInput(search.to ?? "") }, signal }),
    getNextPageParam: (last) => last.next_cursor ?? undefined,
  });
  const rows = pages.data?.pages.flatMap((p) => p.items) ?? [];
  const filtered = Boolean(search.user || search.customer || search.from || search.to);
  return (
    <main className="page">
      <Group align="end" gap="sm" mb="sm">
        <Select label={t("views.who")} placeholder={t("common.all")} searchable clearable value={search.user ?? null} onChange={(v) => set({ user: v ?? undefined })} data={(users.data ?? []).map((u) => ({ value: u.id, label: `${u.display_name}（${u.login}）` }))} w={240} nothingFoundMessage={t("reassign.nobody")} />
        <PickCustomer id={search.customer} pick={(customer) => set({ customer })} />
        <TextInput type="datetime-local" label={t("views.from")} value={search.from ?? ""} onChange={(e) => set({ from: e.currentTarget.value || undefined })} name="from" />
        <TextInput type="datetime-local" label={t("views.to")} value={search.to ?? ""} onChange={(e) => set({ to: e.currentTarget.value || undefined })} name="to" />
        {filtered && <Button variant="default" onClick={() => void navigate({ to: "/views", search: {}, replace: true })}>{t("views.clear")}</Button>}
      </Group>
      <ProblemAlert error={pages.error} retry={() => void pages.refetch()} />
      <Listing title={t("views.title")} about={t("views.about")} empty={!pages.isPending && rows.length === 0 && (filtered ? t("views.emptyFiltered") : t("views.empty"))}
        head={[t("views.at"), t("views.who"), t("views.what"), t("views.whose"), t("views.rows"), t("views.request")]} more={pages.hasNextPage ? () => void pages.fetchNextPage() : undefined} loadingMore={pages.isFetchingNextPage}>
        {rows.map((v, i) => (
          <Table.Tr key={`${v.at}${v.request_id}${i}`} data-view={v.operation}>
            <Table.Td style={{ whiteSpace: "nowrap" }}>{fullMoment(v.at)}</Table.Td>
            <Table.Td><button type="button" className="link" onClick={() => set({ user: v.user_id })} title={t("views.onlyThem")}>{v.user_name ?? v.user_id}</button></Table.Td>
            <Table.Td>{operationName(v.operation)}</Table.Td>
            <Table.Td>{v.entity === "customer" && v.entity_id ? <><Link to="/customers/$customerId" params={{ customerId: v.entity_id }}>{t("views.customer")}</Link> <button type="button" className="link" onClick={() => set({ customer: v.entity_id ?? undefined })}>{t("views.onlyThis")}</button></> : label("viewEntity", v.entity)}</Table.Td>
            <Table.Td className="mono">{v.rows}</Table.Td>
            <Table.Td><code style={{ fontSize: 11 }}>{v.request_id}</code></Table.Td>
          </Table.Tr>
        ))}
      </Listing>
    </main>
  );
}
