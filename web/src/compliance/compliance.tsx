import { Badge, Button, Checkbox, Group, Stack, Table } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { read, type Schemas } from "../api/client";
import { BanCustomer, LiftBan } from "../customers/acts";
import { label } from "../i18n";
import { phoneText } from "../parts/customer";
import { More, usePages } from "../parts/pages";
import { useActorName } from "../parts/people";
import { PickCustomer } from "../parts/pick_customer";
import { ProblemAlert } from "../parts/problem";
import { useMay } from "../session";
import { Listing } from "../settings/record";
import { ruleSource, ruleText } from "../settings/rules";
import { day, fullMoment, moment } from "../time";

type Ban = Schemas["SolicitationBan"];

/** Who was erased by law: the proof, which names nobody. */
function Erasures() {
  const { t } = useTranslation();
  const by = useActorName();
  const pages = usePages(["erasures"], (cursor) => read("/v1/erasures", { query: { limit: 20, cursor } }));
  return (
    <Listing title={t("erase.proofs")} about={t("erase.proofsAbout")} pages={pages} empty={t("erase.none")} head={[t("views.at"), t("erase.kind"), t("common.reason"), t("views.rows"), t("erase.by"), t("erase.customer")]}>
      {pages.rows.map((e) => (
        <Table.Tr key={e.id} data-erasure={e.customer_id}>
          <Table.Td style={{ whiteSpace: "nowrap" }}>{fullMoment(e.at)}</Table.Td>
          <Table.Td><Badge color={e.kind === "ERASED" ? "gray" : "orange"}>{t(`erase.kind_${e.kind}`)}</Badge>{e.until && <div className="faint">{t("erase.until", { day: day(`${e.until}T12:00:00+09:00`) })}</div>}</Table.Td>
          <Table.Td>{e.reason}</Table.Td>
          <Table.Td className="mono">{Object.values(e.places).reduce((sum, n) => sum + n, 0).toLocaleString()}</Table.Td>
          <Table.Td>{by(e.actor)}</Table.Td>
          <Table.Td><code style={{ fontSize: 11 }}>{e.customer_id}</code></Table.Td>
        </Table.Tr>
      ))}
    </Listing>
  );
}

export function CompliancePage() {
  const { t } = useTranslation();
  const may = useMay();
  const [inForce, setInForce] = useState(true);
  const [customer, setCustomer] = useState<string>();
  const [lifting, setLifting] = useState<Ban>();
  const [banning, setBanning] = useState(false);
  const bans = usePages(["bans", inForce, customer], (cursor) => read("/v1/solicitation-bans", { query: { ...(customer ? { customer_id: customer } : inForce ? { in_force: true } : {}), cursor } }));
  const rules = useQuery({ queryKey: ["rules", "first"], queryFn: () => read("/v1/rules", { query: { limit: 100 } }) });
  // The server takes one filter; a customer's bans are few.
  const rows = bans.rows.filter((b) => !customer || !inForce || !b.lifted_at);
  return (
    <main className="page">
      <div className="twothirds">
        <Stack gap="sm">
          <section className="sheet">
            <div className="heading">
              {t("bans.title")}
              <Group gap="sm">
                <Checkbox label={t("bans.inForce")} checked={inForce} onChange={(e) => setInForce(e.currentTarget.checked)} />
                {may("create_solicitation_ban") && <Button size="compact-sm" onClick={() => setBanning(true)} data-add>{t("bans.add")}</Button>}
              </Group>
            </div>
            {may("list_customers") && <Group className="pad"><PickCustomer id={customer} pick={setCustomer} /></Group>}
            <ProblemAlert error={bans.error} retry={bans.retry} />
            {!bans.pending && !bans.error && rows.length === 0 && <div className="pad faint" data-empty>{t("bans.empty")}</div>}
            {rows.length > 0 && (
              <Table.ScrollContainer minWidth={560}>
                <Table>
                  <Table.Thead><Table.Tr><Table.Th>{t("inquiry.customer")}</Table.Th><Table.Th>{t("bans.since")}</Table.Th><Table.Th>{t("bans.source")}</Table.Th><Table.Th>{t("common.reason")}</Table.Th><Table.Th /></Table.Tr></Table.Thead>
                  <Table.Tbody>
                    {rows.map((b) => (
                      <Table.Tr key={b.id} data-ban={b.id}>
                        <Table.Td><Link to="/customers/$customerId" params={{ customerId: b.customer_id }}>{b.customer_name}</Link><div className="faint">{b.covers.filter((c) => c.kind === "phone").map((c) => phoneText(c.key)).join("、")}</div></Table.Td>
                        <Table.Td style={{ whiteSpace: "nowrap" }}>{fullMoment(b.banned_at)}</Table.Td>
                        <Table.Td style={{ whiteSpace: "nowrap" }}>{label("banSource", b.source)}</Table.Td>
                        <Table.Td style={{ overflowWrap: "anywhere" }}>{b.reason}{b.lifted_at && <div className="faint">{t("bans.lifted")}: {moment(b.lifted_at)} {b.lift_reason}</div>}</Table.Td>
                        <Table.Td>{!b.lifted_at && may("lift_solicitation_ban") && <Button size="compact-xs" variant="default" onClick={() => setLifting(b)} data-lift>{t("bans.lift")}</Button>}</Table.Td>
                      </Table.Tr>
                    ))}
                  </Table.Tbody>
                </Table>
              </Table.ScrollContainer>
            )}
            <More pages={bans} />
          </section>
          {may("list_erasures") && <Erasures />}
        </Stack>
        <section className="sheet">
          <div className="heading">{t("rules.title")}{may("add_rule") && <Link to="/settings/$section" params={{ section: "rules" }} style={{ fontSize: 12, fontWeight: 400 }}>{t("rules.changeIt")}</Link>}</div>
          <div className="pad faint" style={{ fontSize: 12.5, paddingBottom: 0 }}>{t("rules.hint")}</div>
          <ProblemAlert error={rules.error} />
          <Table>
            <Table.Tbody>
              {(rules.data?.items ?? []).filter((r) => r.in_force || Date.parse(r.effective_from) > Date.now()).map((r) => (
                <Table.Tr key={r.name + r.effective_from}>
                  <Table.Td>{label("rule", r.name)}<div className="faint" style={{ fontSize: 11.5 }}>{ruleSource(r)}</div></Table.Td>
                  <Table.Td><b>{ruleText(r.value)}</b></Table.Td>
                  <Table.Td><Badge color={r.in_force ? "green" : "gray"}>{r.in_force ? t("rules.inForce") : moment(r.effective_from)}</Badge></Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
        </section>
      </div>
      {lifting && <LiftBan ban={lifting} close={() => setLifting(undefined)} />}
      {banning && <BanCustomer close={() => setBanning(false)} />}
    </main>
  );
}
