// A customer is found by name or phone, of any width, and chosen from a list; none is guessed.
import { useQuery } from "@tanstack/react-query";
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
