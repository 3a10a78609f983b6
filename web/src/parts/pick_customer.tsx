// A customer is found by name or phone, of any width, and chosen from a list; none is guessed.
import { ActionIcon, TextInput } from "@mantine/core";
import { IconX } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { read } from "../api/client";
import { phoneText } from "./customer";
import { digits, isPhone, plainPhone } from "./digits";

export function CustomerHits({ find, pick }: { find: string; pick: (id: string) => void }) {
  const { t } = useTranslation();
  const word = find.trim();
  const byPhone = isPhone(word);
  const enough = byPhone ? digits(word).length >= 4 : word.length >= 1;
  const hits = useQuery({
    queryKey: ["customers", "pick", word],
    enabled: enough,
    queryFn: () => read("/v1/customers", { query: { ...(byPhone ? { phone: plainPhone(word) } : { name: word }), limit: 8 } }),
  });
  if (!enough || !hits.data) return null;
  return (
    <>
      {hits.data.items.map((c) => (
        <button key={c.id} type="button" className="task" data-pick={c.id} onClick={() => pick(c.id)}><b>{c.display_name}</b> <span className="faint">{c.kana} {c.phones.map((p) => phoneText(p)).join("、")}</span></button>
      ))}
      {hits.data.items.length === 0 && <div className="pad faint">{t("customer.noHit")}</div>}
    </>
  );
}

/** A customer in a field of a form or a filter. */
export function PickCustomer({ id, pick, ...field }: { id: string | undefined; pick: (id: string | undefined) => void; error?: string; required?: boolean; w?: number | string; "data-autofocus"?: boolean }) {
  const { t } = useTranslation();
  const [find, setFind] = useState("");
  const known = useQuery({ queryKey: ["customer", id, "name"], enabled: Boolean(id), queryFn: () => read("/v1/customers/{customer_id}", { path: { customer_id: id as string } }) as Promise<{ display_name: string }> });
  const common = { label: t("inquiry.customer"), w: 240, ...field };
  if (id)
    return <TextInput {...common} readOnly value={known.data?.display_name ?? "…"} rightSection={<ActionIcon variant="subtle" size="sm" aria-label={t("views.anyCustomer")} onClick={() => pick(undefined)}><IconX size={14} /></ActionIcon>} />;
  return (
    <div style={{ position: "relative" }}>
      <TextInput {...common} placeholder={t("views.findCustomer")} value={find} onChange={(e) => setFind(e.currentTarget.value)} name="customer" />
      {find.trim() && <div className="sheet" style={{ position: "absolute", zIndex: 5, width: "min(320px, 90vw)", maxHeight: 260, overflow: "auto", boxShadow: "0 4px 14px #0003" }}><CustomerHits find={find} pick={(chosen) => { setFind(""); pick(chosen); }} /></div>}
    </div>
  );
}
