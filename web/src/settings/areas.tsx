import { Badge, Button, Group, Table, TextInput } from "@mantine/core";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { read, type Schemas, write } from "../api/client";
import { stale } from "../cache";
import { digits } from "../parts/digits";
import { useAreas, useTeams } from "../parts/people";
import { Listing, RecordForm } from "./record";

type Area = Schemas["ServiceArea"];

/** 680, 681, 682, 1150045 as 680–682, 1150045. */
function ranges(prefixes: string[]): string {
  const spans: [string, string][] = [];
  for (const p of [...prefixes].sort()) {
    const last = spans.at(-1);
    if (last && last[1].length === p.length && Number(last[1]) + 1 === Number(p)) last[1] = p;
    else spans.push([p, p]);
  }
  return spans.map(([from, to]) => (from === to ? from : `${from}–${to}`)).join("、");
}

export function AreasSection() {
  const { t } = useTranslation();
  const areas = useAreas();
  const teams = useTeams();
  const [editing, setEditing] = useState<{ area?: Area }>();
  const [code, setCode] = useState("");
  const rows = areas.data ?? [];
  const postal = digits(code);
  // The longest prefix wins, as when a visit is booked.
  const hit = postal.length === 7 ? rows.filter((a) => a.active).flatMap((a) => a.postal_prefixes.filter((p) => postal.startsWith(p)).map((p) => ({ a, p }))).sort((x, y) => y.p.length - x.p.length)[0] : undefined;
  return (
    <>
      <Group align="end" mb="sm" gap="sm">
        <TextInput label={t("areas.try")} value={code} inputMode="numeric" placeholder="114-0001" onChange={(e) => setCode(e.currentTarget.value)} name="try" w={180} />
        {postal.length === 7 && <span role="status" style={{ fontSize: 13, paddingBottom: 6 }}>{hit ? t("areas.hit", { area: hit.a.name, prefix: hit.p }) : t("areas.noHit")}</span>}
      </Group>
      <Listing title={t("settings.areas")} about={t("areas.about")} add={() => setEditing({})} addLabel={t("areas.new")} error={areas.error} retry={() => void areas.refetch()} empty={areas.data?.length === 0 && t("areas.empty")}
        head={[t("common.name"), t("admin.team"), t("areas.prefixes"), ""]}>
        {rows.map((a) => (
          <Table.Tr key={a.id} data-area={a.name}>
            <Table.Td style={{ whiteSpace: "nowrap" }}>{a.name}</Table.Td>
            <Table.Td>{teams.data?.find((x) => x.id === a.team_id)?.name}</Table.Td>
            <Table.Td className="mono" style={{ overflowWrap: "anywhere" }}>{a.postal_prefixes.length > 0 ? ranges(a.postal_prefixes) : <span className="faint">{t("areas.noPrefix")}</span>}</Table.Td>
            <Table.Td ta="right" style={{ whiteSpace: "nowrap" }}>{!a.active && <Badge color="gray" mr={6}>{t("admin.inactive")}</Badge>}<Button size="compact-xs" variant="default" onClick={() => setEditing({ area: a })}>{t("common.edit")}</Button></Table.Td>
          </Table.Tr>
        ))}
      </Listing>
      {editing && (
        <RecordForm title={editing.area ? t("common.edit") : t("areas.new")} record={editing.area as never} initial={{ active: true }} close={() => setEditing(undefined)}
          fields={[
            { name: "name", label: t("common.name"), kind: "text", required: true },
            { name: "team_id", label: t("admin.team"), kind: "choice", options: (teams.data ?? []).map((x) => ({ value: x.id, label: x.name })) },
            { name: "postal_prefixes", label: t("areas.prefixes"), hint: t("areas.prefixesHint"), kind: "words" },
            { name: "active", label: t("areas.active"), kind: "check" },
          ]}
          save={async (body, version) => {
            if (editing.area) await write("patch", "/v1/service-areas/{service_area_id}", { path: { service_area_id: editing.area.id }, body: body as never, version });
            else await write("post", "/v1/service-areas", { body: { active: false, ...body } as never });
            await stale(["service-areas"]);
          }}
          reload={async () => (editing.area ? ((await read("/v1/service-areas/{service_area_id}", { path: { service_area_id: editing.area.id } })) as never) : undefined)} />
      )}
    </>
  );
}
