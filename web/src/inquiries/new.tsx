import { ActionIcon, Button, Checkbox, Group, NativeSelect, SegmentedControl, Stack, Text, Textarea, TextInput, Title } from "@mantine/core";
import { IconX } from "@tabler/icons-react";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { type FormEvent, useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import { type Schemas, write } from "../api/client";
import { stale } from "../cache";
import { label } from "../i18n";
import { NameLine, useCustomer, useNames, Warnings } from "../parts/customer";
import { digits, DigitsInput } from "../parts/digits";
import { CustomerHits } from "../parts/pick_customer";
import { tellProblem, tellSaved, useSubmit } from "../parts/form";
import { ProblemAlert } from "../parts/problem";
import { Towns } from "../parts/towns";
import { sayWhoCalled } from "../desk/who_called";

interface Item { item_category_id: string; description: string; quantity: string }
const empty = { display_name: "", kana: "", phone: "", postal_code: "", prefecture: "", city: "", town: "", street: "", building: "", email: "" };

export function NewInquiryPage() {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const names = useNames();
  const search = useSearch({ from: "/app/inquiries/new" });
  const [known, setKnown] = useState(search.customer_id ?? "");
  const [mode, setMode] = useState<"existing" | "new">(search.phone ? "new" : "existing");
  const [find, setFind] = useState("");
  const [who, setWho] = useState({ ...empty, phone: search.phone ?? "" });
  const [media, setMedia] = useState("");
  const [channel, setChannel] = useState<"PHONE" | "WEB" | "FILE" | "OTHER">("PHONE");
  const [items, setItems] = useState<Item[]>([{ item_category_id: "", description: "", quantity: "" }]);
  const [notes, setNotes] = useState("");
  const [asked, setAsked] = useState(true);
  const [lifting, setLifting] = useState("");
  const form = useSubmit();
  const { busy, error } = form;
  const customer = useCustomer(known);
  const banned = mode === "existing" && Boolean(known && customer.data?.active_ban);
  // That the ban goes is confirmed for this customer, not for the one who was chosen before.
  const ready = mode === "new" || (known && customer.data && (!banned || !asked || lifting === known));
  const code = digits(who.postal_code);
  const set = (change: Partial<typeof who>) => setWho((w) => ({ ...w, ...change }));
  useEffect(() => {
    if (!media && names.mediaSources[0]) setMedia(names.mediaSources[0].id);
  }, [media, names.mediaSources]);

  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (!ready || busy) return;
    const chosen = items.filter((i) => i.item_category_id);
    const body: Schemas["NewInquiry"] = {
      media_source_id: media,
      channel,
      customer_initiated: asked,
      ...(notes ? { notes } : {}),
      items: chosen.map((i) => ({ item_category_id: i.item_category_id, description: i.description, ...(i.quantity ? { quantity: Number(i.quantity) } : {}) })),
    };
    if (mode === "existing") body.customer_id = known;
    else {
      const address = { ...(code ? { postal_code: code } : {}), prefecture: who.prefecture, city: who.city, town: who.town, street: who.street, building: who.building };
      body.customer = {
        display_name: who.display_name,
        kana: who.kana,
        phones: who.phone ? [{ raw: who.phone }] : [],
        addresses: code || who.city || who.street ? [address] : [],
        emails: who.email ? [{ email: who.email }] : [],
      };
    }
    void form.run(async () => {
      const made = await write("post", "/v1/inquiries", { body });
      // The inquiry is there: who called can still be said at the desk.
      if (search.call_id) await sayWhoCalled(search.call_id, made.inquiry.customer_id, made.inquiry.id).catch(tellProblem);
      tellSaved(t("inquiry.created"));
      void stale(["tasks"], ["customer", made.inquiry.customer_id]);
      if (search.call_id) await navigate({ to: "/" });
      else await navigate({ to: "/customers/$customerId", params: { customerId: made.inquiry.customer_id } });
    });
  };
  const text = (key: keyof typeof empty, pointer: string, title: string, more: object = {}) => (
    <TextInput label={title} value={who[key]} onChange={(e) => set({ [key]: e.currentTarget.value })} error={form.at(`/customer${pointer}`)} name={key} {...more} />
  );
  return (
    <main className="page">
      <form onSubmit={submit} style={{ maxWidth: 860, margin: "0 auto" }}>
        <Stack gap="sm">
          <Title order={1}>{t("inquiry.new")}</Title>
          <ProblemAlert error={error} shown={["/customer/display_name", "/customer/kana", "/customer/phones/0", "/customer/addresses/0", "/customer/emails/0", "/media_source_id", "/channel", "/notes"]} />
          <section className="sheet">
            <div className="heading">
              {t("inquiry.customer")}
              <SegmentedControl value={mode} onChange={(v) => setMode(v as typeof mode)} data={[{ value: "existing", label: t("inquiry.existing") }, { value: "new", label: t("inquiry.newCustomer") }]} />
            </div>
            <div className="pad">
              {mode === "existing" ? (
                known && customer.data ? (
                  <Stack gap={6}>
                    <Warnings customer={customer.data} />
                    <div className="row"><NameLine customer={customer.data} /><ActionIcon variant="subtle" aria-label={t("common.remove")} onClick={() => setKnown("")}><IconX size={16} /></ActionIcon></div>
                  </Stack>
                ) : (
                  <>
                    <TextInput label={t("inquiry.find")} value={find} onChange={(e) => setFind(e.currentTarget.value)} error={form.at("/customer_id")} autoFocus />
                    <CustomerHits find={find} pick={setKnown} />
                  </>
                )
              ) : (
                <Stack gap={6}>
                  <Group grow align="start">{text("display_name", "/display_name", t("customer.display_name"), { required: true })}{text("kana", "/kana", t("customer.kana"))}</Group>
                  <Group grow align="start">{text("phone", "/phones/0", t("customer.raw"), { inputMode: "tel" })}{text("email", "/emails/0", t("customer.email"))}</Group>
                  <Group align="start">
                    {text("postal_code", "/addresses/0/postal_code", t("customer.postal_code"), { inputMode: "numeric", w: 110 })}
                    {text("prefecture", "/addresses/0/prefecture", t("customer.prefecture"), { w: 110 })}
                    {text("city", "/addresses/0/city", t("customer.city"), { style: { flex: "1 1 140px" } })}
                    {text("town", "/addresses/0/town", t("customer.town"), { style: { flex: "1 1 140px" } })}
                  </Group>
                  <Towns code={code} pick={set} />
                  <Group grow align="start">{text("street", "/addresses/0/street", t("customer.street"))}{text("building", "/addresses/0/building", t("customer.building"))}</Group>
                </Stack>
              )}
            </div>
          </section>
          <section className="sheet">
            <div className="heading">{t("inquiry.title")}</div>
            <Stack gap={8} className="pad">
              <Group grow align="start">
                <NativeSelect label={t("inquiry.media")} value={media} onChange={(e) => setMedia(e.currentTarget.value)} data={names.mediaSources.map((m) => ({ value: m.id, label: m.name }))} error={form.at("/media_source_id")} />
                <NativeSelect label={t("inquiry.channel")} value={channel} onChange={(e) => setChannel(e.currentTarget.value as typeof channel)} data={["PHONE", "WEB", "FILE", "OTHER"].map((c) => ({ value: c, label: label("channel", c) }))} error={form.at("/channel")} />
              </Group>
              <Checkbox label={t("inquiry.asked")} description={t("inquiry.askedHint")} checked={asked} onChange={(e) => setAsked(e.currentTarget.checked)} name="customer_initiated" />
              {banned && (asked ? (
                <div className="banned" style={{ fontSize: 13 }}>
                  {t("inquiry.liftsBan")}
                  <Checkbox mt={6} label={t("inquiry.liftsBanConfirm")} checked={lifting === known} onChange={(e) => setLifting(e.currentTarget.checked ? known : "")} name="lifts_ban" />
                </div>
              ) : <div className="warning" style={{ fontSize: 13 }}>{t("inquiry.keepsBan")}</div>)}
              <Text fz="xs" fw={600}>{t("inquiry.items")}</Text>
              {items.map((item, at) => {
                const change = (c: Partial<Item>) => setItems((all) => all.map((x, i) => (i === at ? { ...x, ...c } : x)));
                return (
                  <Group key={at} gap="xs">
                    <NativeSelect aria-label={t("inquiry.category")} w={170} value={item.item_category_id} onChange={(e) => change({ item_category_id: e.currentTarget.value })} data={[{ value: "", label: t("common.choose") }, ...names.categories.map((c) => ({ value: c.id, label: names.category(c.id) }))]} />
                    <TextInput aria-label={t("inquiry.description")} placeholder={t("inquiry.description")} style={{ flex: "1 1 160px" }} value={item.description} onChange={(e) => change({ description: e.currentTarget.value })} />
                    <DigitsInput aria-label={t("inquiry.quantity")} placeholder={t("inquiry.quantity")} w={70} value={item.quantity} change={(quantity) => change({ quantity })} />
                    <ActionIcon variant="subtle" color="gray" aria-label={t("common.remove")} onClick={() => setItems((all) => all.filter((_, i) => i !== at))}><IconX size={15} /></ActionIcon>
                  </Group>
                );
              })}
              <Group><Button variant="subtle" size="compact-xs" onClick={() => setItems((all) => [...all, { item_category_id: "", description: "", quantity: "" }])}>{t("inquiry.addItem")}</Button></Group>
              <Textarea label={t("inquiry.notes")} autosize minRows={2} value={notes} onChange={(e) => setNotes(e.currentTarget.value)} error={form.at("/notes")} />
            </Stack>
          </section>
          <Group justify="flex-end"><Button type="submit" size="sm" loading={busy} disabled={!ready}>{t("inquiry.create")}</Button></Group>
        </Stack>
      </form>
    </main>
  );
}
