import { Button, Group, SegmentedControl, Table, TextInput } from "@mantine/core";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import { read } from "../api/client";
import { Flags, phoneText } from "../parts/customer";
import { digits, isPhone, plainPhone } from "../parts/digits";
import { More, usePages } from "../parts/pages";
import { ProblemAlert } from "../parts/problem";
import { useMay } from "../session";
import { age } from "../time";

type By = "phone" | "name" | "email";
/** What somebody types says what they look for: digits a phone, @ an email, anything else a name. */
function guess(text: string): By {
  if (text.includes("@")) return "email";
  return isPhone(text) ? "phone" : "name";
}

export function CustomersPage() {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const may = useMay();
  const { q = "" } = useSearch({ from: "/app/customers" });
  const [text, setText] = useState(q);
  const [chosen, setChosen] = useState<By | "auto">("auto");
  const wanted = q.trim();
  const by = chosen === "auto" ? guess(wanted) : chosen;
  const enough = by !== "phone" || digits(wanted).length >= 4 || wanted === "";
  useEffect(() => {
    const timer = setTimeout(() => {
      if (text !== q) void navigate({ to: "/customers", search: text ? { q: text } : {}, replace: true });
    }, 250);
    return () => clearTimeout(timer);
  }, [text, q, navigate]);
  const pages = usePages(["customers", by, wanted], (cursor, signal) => read("/v1/customers", { query: { ...(wanted ? { [by]: by === "phone" ? plainPhone(wanted) : wanted } : {}), cursor }, signal }), { enabled: enough });
  const { rows } = pages;
  return (
    <main className="page">
      <Group mb="sm" align="end">
        <TextInput label={t("common.search")} placeholder={t("customer.searchHint")} value={text} onChange={(e) => setText(e.currentTarget.value)} style={{ flex: "1 1 240px", maxWidth: 520 }} autoFocus type="search" />
        <SegmentedControl value={chosen} onChange={(v) => setChosen(v as By | "auto")}
          data={[{ value: "auto", label: t("common.all") }, { value: "phone", label: t("customer.phones") }, { value: "name", label: t("customer.nameKana") }, { value: "email", label: t("customer.emails") }]} />
        {may("create_inquiry") && <Button component={Link} to="/inquiries/new">{t("inquiry.new")}</Button>}
      </Group>
      <ProblemAlert error={pages.error} retry={pages.retry} />
      <div className="sheet">
        <div className="heading">{wanted ? t("nav.customers") : t("customer.recent")}</div>
        {!enough || pages.none ? (
          <div className="pad faint">{enough ? t("customer.noHit") : t("customer.phone")}</div>
        ) : (
          <Table>
            <Table.Thead>
              <Table.Tr>
                <Table.Th>{t("customer.display_name")}</Table.Th>
                <Table.Th>{t("customer.kana")}</Table.Th>
                <Table.Th>{t("customer.birth_date")}</Table.Th>
                <Table.Th>{t("customer.phones")}</Table.Th>
                <Table.Th>{t("customer.flags")}</Table.Th>
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {rows.map((c) => (
                <Table.Tr key={c.id}>
                  <Table.Td><Link to="/customers/$customerId" params={{ customerId: c.id }}>{c.display_name}</Link></Table.Td>
                  <Table.Td>{c.kana}</Table.Td>
                  <Table.Td>{c.birth_date ? `${c.birth_date}（${t("customer.age", { age: age(c.birth_date) })}）` : ""}</Table.Td>
                  <Table.Td>{c.phones.map((p) => phoneText(p)).join("、")}</Table.Td>
                  <Table.Td><Group gap={4}><Flags flags={c.flags} /></Group></Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
        )}
        <More pages={pages} />
      </div>
    </main>
  );
}
