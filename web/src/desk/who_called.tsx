import { Button, Group, NativeSelect, Stack, TextInput } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { read, type Schemas, write } from "../api/client";
import { stale } from "../cache";
import { label } from "../i18n";
import { NameLine, phoneText, useCustomer, useNames, Warnings } from "../parts/customer";
import { useSubmit } from "../parts/form";
import { CustomerHits } from "../parts/pick_customer";
import { ProblemAlert } from "../parts/problem";
import { useMay } from "../session";
import { moment } from "../time";

/** Who it was can be said once. */
export async function sayWhoCalled(call: string, customer_id: string, inquiry_id: string | undefined) {
  const path = { call_attempt_id: call };
  const now = await read("/v1/calls/{call_attempt_id}", { path });
  await write("patch", "/v1/calls/{call_attempt_id}", { path, body: { customer_id, ...(inquiry_id ? { inquiry_id } : {}) }, version: now.version });
  await stale(["tasks"]);
}

/** A call of somebody unknown, or whose number is withheld: found while talking or afterwards, or taken in as a new lead, or left unknown. */
export function WhoCalled({ call }: { call: Schemas["CallRow"] }) {
  const { t } = useTranslation();
  const may = useMay();
  const names = useNames();
  const [find, setFind] = useState(phoneText(call.e164));
  const [chosen, setChosen] = useState("");
  const [inquiry, setInquiry] = useState<string>();
  const { busy, error, run } = useSubmit();
  const customer = useCustomer(chosen || undefined);
  const about = inquiry ?? customer.data?.inquiries[0]?.id ?? "";
  const say = () => run(() => sayWhoCalled(call.id, chosen, about || undefined));
  return (
    <section className="sheet" data-who-called>
      <div className="heading">{t("whoCalled.title")}<span className="faint" style={{ fontWeight: 400 }}>{call.e164 ? phoneText(call.e164) : t("whoCalled.withheld")}</span></div>
      <Stack gap="xs" className="pad">
        <ProblemAlert error={error ?? customer.error} />
        {chosen && customer.data ? (
          <>
            <Warnings customer={customer.data} />
            <NameLine customer={customer.data} />
            <Group gap="xs" align="end">
              <NativeSelect label={t("inquiry.title")} value={about} onChange={(e) => setInquiry(e.currentTarget.value)}
                data={[...customer.data.inquiries.map((i) => ({ value: i.id, label: `${label("stage", i.stage)} ${names.media(i.media_source_id)} ${moment(i.received_at)}` })), { value: "", label: t("common.none") }]} />
              <Button onClick={() => void say()} loading={busy} data-say>{t("whoCalled.say")}</Button>
              <Button variant="default" onClick={() => { setChosen(""); setInquiry(undefined); }}>{t("common.back")}</Button>
            </Group>
          </>
        ) : (
          <>
            <TextInput label={t("inquiry.find")} description={t("whoCalled.hint")} value={find} onChange={(e) => setFind(e.currentTarget.value)} name="who" />
            <CustomerHits find={find} pick={setChosen} />
            {may("create_inquiry") && <Group><Button variant="default" component={Link} to="/inquiries/new" search={{ call_id: call.id, ...(call.e164 ? { phone: phoneText(call.e164) } : {}) } as never}>{t("inquiry.new")}</Button></Group>}
          </>
        )}
      </Stack>
    </section>
  );
}
