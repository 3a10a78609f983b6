import { Badge, Button, Group, NativeSelect, SegmentedControl, Table } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { read } from "../api/client";
import { label } from "../i18n";
import { Flags, useNames } from "../parts/customer";
import { More, usePages } from "../parts/pages";
import { ProblemAlert } from "../parts/problem";
import { useMay, useMe } from "../session";
import { moment } from "../time";

const stages = ["NEW", "IN_PROGRESS", "NURTURING", "APPOINTED", "VISITED", "CONTRACTED", "NO_DEAL", "LOST", "INVALID"];

export function InquiriesPage() {
  const { t } = useTranslation();
  const me = useMe();
  const may = useMay();
  const names = useNames();
  const [view, setView] = useState<"due" | "received">("due");
  const [stage, setStage] = useState("");
  const [media, setMedia] = useState("");
  const [owner, setOwner] = useState("");
  const pages = usePages(["inquiries", view, stage, media, owner], (cursor, signal) => read("/v1/inquiries", { query: { view, stage: stage || undefined, media_source_id: media || undefined, owner_id: owner || undefined, cursor }, signal }));
  const { rows } = pages;
  const now = Date.now();
  return (
    <main className="page">
      <Group mb="sm" align="end">
        <SegmentedControl value={view} onChange={(v) => setView(v as typeof view)} data={[{ value: "due", label: t("inquiry.due") }, { value: "received", label: t("inquiry.received") }]} />
        <NativeSelect label={t("inquiry.stage")} value={stage} onChange={(e) => setStage(e.currentTarget.value)} data={[{ value: "", label: t("common.all") }, ...stages.map((s) => ({ value: s, label: label("stage", s) }))]} />
        <NativeSelect label={t("inquiry.media")} value={media} onChange={(e) => setMedia(e.currentTarget.value)} data={[{ value: "", label: t("common.all") }, ...names.mediaSources.map((m) => ({ value: m.id, label: m.name }))]} />
        <NativeSelect label={t("inquiry.owner")} value={owner} onChange={(e) => setOwner(e.currentTarget.value)} data={[{ value: "", label: t("common.all") }, { value: me.user.id, label: t("inquiry.mine") }]} />
        <span style={{ flex: 1 }} />
        {may("create_inquiry") && <Button component={Link} to="/inquiries/new">{t("inquiry.new")}</Button>}
      </Group>
      <ProblemAlert error={pages.error} retry={pages.retry} />
      <div className="sheet">
        {pages.none ? (
          <div className="pad faint">{t("inquiry.empty")}</div>
        ) : (
          <Table stickyHeader>
            <Table.Thead>
              <Table.Tr>
                <Table.Th>{t("inquiry.nextAt")}</Table.Th>
                <Table.Th>{t("inquiry.nextAction")}</Table.Th>
                <Table.Th>{t("inquiry.customer")}</Table.Th>
                <Table.Th>{t("inquiry.stage")}</Table.Th>
                <Table.Th>{t("inquiry.media")}</Table.Th>
                <Table.Th>{t("inquiry.channel")}</Table.Th>
                <Table.Th>{t("inquiry.receivedAt")}</Table.Th>
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {rows.map((i) => {
                const late = i.next_action_at && Date.parse(i.next_action_at) < now;
                return (
                  <Table.Tr key={i.id}>
                    <Table.Td style={{ whiteSpace: "nowrap" }}>{moment(i.next_action_at)} {late && <Badge size="xs" color="red">{t("inquiry.overdue")}</Badge>}</Table.Td>
                    <Table.Td>{label("nextAction", i.next_action)}</Table.Td>
                    <Table.Td><Group gap={6}><Link to="/customers/$customerId" params={{ customerId: i.customer_id }}>{i.customer_display_name}</Link><Flags flags={i.customer_flags} /></Group></Table.Td>
                    <Table.Td><Link to="/inquiries/$inquiryId" params={{ inquiryId: i.id }} aria-label={t("inquiry.openOf", { name: i.customer_display_name })}><Badge style={{ cursor: "pointer" }}>{label("stage", i.stage)}</Badge></Link></Table.Td>
                    <Table.Td>{names.media(i.media_source_id)}</Table.Td>
                    <Table.Td>{label("channel", i.channel)}</Table.Td>
                    <Table.Td style={{ whiteSpace: "nowrap" }}>{moment(i.received_at)}</Table.Td>
                  </Table.Tr>
                );
              })}
            </Table.Tbody>
          </Table>
        )}
        <More pages={pages} />
      </div>
    </main>
  );
}
