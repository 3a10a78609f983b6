import { Alert, Badge, Button, Code, Group, Stack, Table, Text, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { type ReactNode, useState } from "react";
import { useTranslation } from "react-i18next";
import { read, type Schemas, write } from "../api/client";
import { stale } from "../cache";
import { label } from "../i18n";
import { useSubmit } from "../parts/form";
import { ProblemAlert } from "../parts/problem";
import { useMay } from "../session";
import { fullMoment, toInput } from "../time";

const colors = { green: "green", yellow: "yellow", red: "red", external: "gray" } as const;
const size = (bytes: number | undefined) => {
  if (bytes === undefined) return "";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let at = 0;
  let n = bytes;
  while (n >= 1000 && at < units.length - 1) {
    n /= 1000;
    at++;
  }
  return `${n.toFixed(at === 0 || n >= 100 ? 0 : 1)} ${units[at]}`;
};

/** For each emergency the exact command: a restore is never a button. */
function Emergencies({ data, window }: { data: string; window?: Schemas["Continuity"]["window"] }) {
  const { t } = useTranslation();
  const restored = `${data}/restored`;
  // The example lies in the window that can be restored: in an emergency a command is copied as it stands.
  const end = Date.parse(window?.to ?? "") || Date.now();
  const before = new Date(Math.max(end - 3_600_000, Date.parse(window?.from ?? "") || 0));
  const all: [string, string[]][] = [
    [t("continuity.lostDisk"), [`enishi restore --data ${data} --into ${restored}`, `enishi restore --data ${data} --into ${restored} --promote`]],
    [t("continuity.wrongDelete"), [`enishi restore --data ${data} --to '${toInput(before).replace("T", " ")}:00+09' --into ${restored}`, `enishi serve --data ${restored} --listen 127.0.0.1:8090`]],
    [t("continuity.badPage"), [`enishi restore --data ${data} --into ${restored}`, `enishi restore --data ${data} --into ${restored} --promote`]],
    [t("continuity.otherMachine"), ["enishi restore --backup BACKUPS --backup-key KEY --into DIR", "enishi restore --promote --into DIR"]],
  ];
  return (
    <section className="sheet">
      <div className="heading">{t("continuity.emergencies")}</div>
      <div className="pad">
        <Stack gap="sm">
          <Text fz="sm" className="faint">{t("continuity.emergenciesHint")}</Text>
          {all.map(([name, commands]) => (
            <div key={name}>
              <Text fz="sm" fw={600}>{name}</Text>
              <Code block>{commands.join("\n")}</Code>
            </div>
          ))}
        </Stack>
      </div>
    </section>
  );
}

export function ContinuityPage() {
  const { t } = useTranslation();
  const may = useMay();
  const [mark, setMark] = useState("");
  const form = useSubmit();
  const { busy } = form;
  const status = useQuery({ queryKey: ["continuity"], refetchInterval: 5_000, queryFn: () => read("/v1/continuity") });
  const requests = useQuery({ queryKey: ["continuity", "requests"], refetchInterval: 5_000, queryFn: () => read("/v1/continuity/requests", { query: { limit: 10 } }) });
  const ask = (body: Schemas["NewContinuityRequest"]) =>
    form.run(async () => {
      await write("post", "/v1/continuity/requests", { body });
      setMark("");
      await stale(["continuity"]);
    });
  const s = status.data;
  // Whether losing the database's disk now could lose what was acknowledged.
  const risks = s?.not_rpo_0 ?? [];
  const safe = s?.mode === "synchronous" && risks.every((r) => r.to);
  const rows: [string, ReactNode][] = s?.repository && s.window && s.wal && s.receiver && s.drill ? [
    [t("continuity.window"), s.window.from ? `${fullMoment(s.window.from)} – ${fullMoment(s.window.to)} (${t("continuity.days", { count: s.window.days })})` : t("continuity.none")],
    [t("continuity.lastBackup"), s.repository.last_backup_at ? `${fullMoment(s.repository.last_backup_at)}, ${s.repository.folder}, ${size(s.repository.bytes)}` : t("continuity.none")],
    [t("continuity.drill"), s.drill.last ? `${s.drill.last.good ? t("continuity.good") : t("continuity.bad")} ${fullMoment(s.drill.last.at)}, ${s.drill.last.seconds.toFixed(1)} s: ${s.drill.last.detail}` : t("continuity.none")],
    [t("continuity.wal"), `${size(s.wal.bytes)}, ${t("continuity.waiting", { count: s.wal.files_waiting })}, ${fullMoment(s.wal.last_archived_at)}`],
    [t("continuity.receiver"), <Group key="receiver" gap="xs">
      <span>{`${label("receiverState", s.receiver.state)}, ${s.mode === "synchronous" ? t("continuity.synchronous") : t("continuity.asynchronous")}, ${size(s.receiver.lag_bytes)}`}</span>
      <Badge color={safe ? "green" : "yellow"} data-rpo={safe ? "zero" : "not-zero"}>{safe ? t("continuity.rpo0") : t("continuity.notRpo0")}</Badge>
    </Group>],
    ...(risks.length > 0 ? [[t("continuity.intervals"), risks.map((r) => `${fullMoment(r.from)} – ${r.to ? fullMoment(r.to) : ""} (${r.seconds.toFixed(0)} s)`).join(", ")] as [string, ReactNode]] : []),
    [t("continuity.key"), s.repository.key_file],
    ...(s.disks ?? []).map((d): [string, ReactNode] => [`${t("continuity.disk")} ${d.path}`, t("continuity.free", { free: size(d.free_bytes), all: size(d.bytes) })]),
    ...(s.running ? [[t("continuity.running"), s.running] as [string, ReactNode]] : []),
  ] : [];
  return (
    <main className="page">
      <section className="sheet">
        <div className="heading">
          {t("continuity.title")}
          {s && <Badge color={colors[s.state]}>{t(`continuity.state.${s.state}`)}</Badge>}
        </div>
        <ProblemAlert error={status.error} retry={() => void status.refetch()} />
        {s?.state === "external" && <div className="pad">{t("continuity.external")}</div>}
        {s?.problems.map((p) => (
          <Alert key={p.code} color={p.severity} title={p.code} m="sm" p="xs">
            <Text fz="sm">{p.detail}</Text>
            <Code block>{p.way_out}</Code>
            <Text fz={11} className="faint">{fullMoment(p.since)}</Text>
          </Alert>
        ))}
        <Table>
          <Table.Tbody>
            {rows.map(([name, value]) => (
              <Table.Tr key={name}>
                <Table.Th w={220}>{name}</Table.Th>
                <Table.Td>{value}</Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
        {s && s.state !== "external" && <div className="pad"><Text fz="sm">{s.mode === "synchronous" ? t("continuity.riskSynchronous") : t("continuity.riskAsynchronous")}</Text></div>}
        {s && s.state !== "external" && may("create_continuity_request") && (
          <div className="pad">
            <ProblemAlert error={form.error} shown={["/name"]} />
            <Group gap="sm" align="flex-end">
              <Button size="compact-sm" disabled={busy} onClick={() => void ask({ kind: "BACKUP" })}>{t("continuity.backupNow")}</Button>
              <Button size="compact-sm" variant="default" disabled={busy} onClick={() => void ask({ kind: "DRILL" })}>{t("continuity.drillNow")}</Button>
              <form onSubmit={(e) => { e.preventDefault(); void ask({ kind: "MARK", name: mark }); }}>
                <Group gap={4} align="flex-end">
                  <TextInput size="xs" label={t("continuity.markName")} value={mark} onChange={(e) => setMark(e.currentTarget.value)} placeholder="before-import" error={form.at("/name")} />
                  <Button size="compact-sm" variant="default" type="submit" disabled={busy || mark === ""}>{t("continuity.setMark")}</Button>
                </Group>
              </form>
            </Group>
          </div>
        )}
      </section>
      {(requests.data?.items.length ?? 0) > 0 && (
        <section className="sheet">
          <div className="heading">{t("continuity.requests")}</div>
          <Table>
            <Table.Tbody>
              {requests.data?.items.map((r) => (
                <Table.Tr key={r.id}>
                  <Table.Td>{fullMoment(r.requested_at)}</Table.Td>
                  <Table.Td>{label("continuityKind", r.kind)}{r.name ? ` ${r.name}` : ""}</Table.Td>
                  <Table.Td><Badge color={r.state === "FAILED" ? "red" : r.state === "DONE" ? "green" : "gray"}>{label("continuityRequest", r.state)}</Badge></Table.Td>
                  <Table.Td>{r.detail}</Table.Td>
                  <Table.Td>{r.requested_by}</Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
        </section>
      )}
      {s?.data && <Emergencies data={s.data} window={s.window} />}
    </main>
  );
}
