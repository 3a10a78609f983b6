import { Badge, Button, Checkbox, Group, Modal, Stack, Table, Textarea } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { type FormEvent, useState } from "react";
import { useTranslation } from "react-i18next";
import { fieldError, read, type Schemas, write } from "../api/client";
import { cache } from "../cache";
import { label } from "../i18n";
import { holdEnterWhileComposing } from "../keyboard";
import { phoneText } from "../parts/customer";
import { ProblemAlert } from "../parts/problem";
import { useMay } from "../session";
import { ruleText } from "../settings/rules";
import { PickCustomer } from "./views";
import { fullMoment, moment } from "../time";

type Ban = Schemas["SolicitationBan"];

function Lift({ ban, close }: { ban: Ban; close: () => void }) {
  const { t } = useTranslation();
  const [reason, setReason] = useState("");
  const [error, setError] = useState<unknown>();
  const [busy, setBusy] = useState(false);
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setBusy(true);
    try {
      await write("post", "/v1/solicitation-bans/{solicitation_ban_id}/lifting", { path: { solicitation_ban_id: ban.id }, body: { reason } });
      notifications.show({ message: t("common.saved"), color: "green" });
      await cache.invalidateQueries({ queryKey: ["bans"] });
      close();
    } catch (e) {
      setError(e);
    } finally {
      setBusy(false);
    }
  };
  return (
    <Modal opened onClose={close} title={t("bans.liftTitle")}>
      <form onSubmit={submit} onKeyDown={holdEnterWhileComposing}>
        <Stack gap="sm">
          <ProblemAlert error={error} shown={["/reason"]} />
          <div className="faint" style={{ fontSize: 13 }}>{ban.reason}</div>
          <Textarea label={t("common.reason")} required autosize minRows={2} value={reason} onChange={(e) => setReason(e.currentTarget.value)} error={fieldError(error, "/reason")} data-autofocus />
          <Group justify="flex-end"><Button variant="default" onClick={close}>{t("common.cancel")}</Button><Button type="submit" color="red" loading={busy} disabled={!reason.trim()}>{t("bans.lift")}</Button></Group>
        </Stack>
      </form>
    </Modal>
  );
}

export function CompliancePage() {
  const { t } = useTranslation();
  const may = useMay();
  const [inForce, setInForce] = useState(true);
  const [customer, setCustomer] = useState<string>();
  const [lifting, setLifting] = useState<Ban>();
  const bans = useInfiniteQuery({
    queryKey: ["bans", inForce, customer],
    initialPageParam: undefined as string | undefined,
    queryFn: ({ pageParam }) => read("/v1/solicitation-bans", { query: { ...(customer ? { customer_id: customer } : inForce ? { in_force: true } : {}), cursor: pageParam } }),
    getNextPageParam: (last) => last.next_cursor ?? undefined,
  });
  const rules = useQuery({ queryKey: ["rules", "first"], queryFn: () => read("/v1/rules", { query: { limit: 100 } }) });
  // The server takes one filter; a customer's bans are few.
  const rows = (bans.data?.pages.flatMap((p) => p.items) ?? []).filter((b) => !customer || !inForce || !b.lifted_at);
  return (
    <main className="page">
      <div className="twothirds">
        <section className="sheet">
          <div className="heading">{t("bans.title")}<Checkbox label={t("bans.inForce")} checked={inForce} onChange={(e) => setInForce(e.currentTarget.checked)} /></div>
          {may("list_customers") && <Group className="pad"><PickCustomer id={customer} pick={setCustomer} /></Group>}
          <ProblemAlert error={bans.error} retry={() => void bans.refetch()} />
          {!bans.isPending && rows.length === 0 && <div className="pad faint">{t("bans.empty")}</div>}
          {rows.length > 0 && (
            <Table>
              <Table.Thead><Table.Tr><Table.Th>{t("bans.since")}</Table.Th><Table.Th>{t("bans.source")}</Table.Th><Table.Th>{t("common.reason")}</Table.Th><Table.Th>{t("bans.covers")}</Table.Th><Table.Th /></Table.Tr></Table.Thead>
              <Table.Tbody>
                {rows.map((b) => (
                  <Table.Tr key={b.id}>
                    <Table.Td style={{ whiteSpace: "nowrap" }}>{fullMoment(b.banned_at)}</Table.Td>
                    <Table.Td style={{ whiteSpace: "nowrap" }}>{label("banSource", b.source)}</Table.Td>
                    <Table.Td>{b.reason}{b.lifted_at && <div className="faint">{t("bans.lifted")}: {moment(b.lifted_at)} {b.lift_reason}</div>}</Table.Td>
                    <Table.Td><Link to="/customers/$customerId" params={{ customerId: b.customer_id }}>{t("inquiry.customer")}</Link> <span className="faint">{b.covers.filter((c) => c.kind === "phone").map((c) => phoneText(c.key)).join("、")}</span></Table.Td>
                    <Table.Td>{!b.lifted_at && may("lift_solicitation_ban") && <Button size="compact-xs" variant="default" onClick={() => setLifting(b)}>{t("bans.lift")}</Button>}</Table.Td>
                  </Table.Tr>
                ))}
              </Table.Tbody>
            </Table>
          )}
          {bans.hasNextPage && <div className="pad"><Button variant="default" onClick={() => void bans.fetchNextPage()}>{t("common.more")}</Button></div>}
        </section>
        <section className="sheet">
          <div className="heading">{t("rules.title")}{may("add_rule") && <Link to="/settings/$section" params={{ section: "rules" }} style={{ fontSize: 12, fontWeight: 400 }}>{t("rules.changeIt")}</Link>}</div>
          <div className="pad faint" style={{ fontSize: 12.5, paddingBottom: 0 }}>{t("rules.hint")}</div>
          <ProblemAlert error={rules.error} />
          <Table>
            <Table.Tbody>
              {(rules.data?.items ?? []).filter((r) => r.in_force || Date.parse(r.effective_from) > Date.now()).map((r) => (
                <Table.Tr key={r.name + r.effective_from}>
                  <Table.Td>{label("rule", r.name)}<div className="faint" style={{ fontSize: 11.5 }}>{r.source}</div></Table.Td>
                  <Table.Td><b>{ruleText(r.value)}</b></Table.Td>
                  <Table.Td><Badge color={r.in_force ? "green" : "gray"}>{r.in_force ? t("rules.inForce") : moment(r.effective_from)}</Badge></Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
        </section>
      </div>
      {lifting && <Lift ban={lifting} close={() => setLifting(undefined)} />}
    </main>
  );
}
