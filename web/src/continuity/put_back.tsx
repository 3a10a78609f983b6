import { Alert, Anchor, Button, Checkbox, Group, Loader, NativeSelect, SegmentedControl, Stack, Text, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link, useSearch } from "@tanstack/react-router";
import { type FormEvent, useState } from "react";
import { useTranslation } from "react-i18next";
import { Problem, read, type Schemas, write } from "../api/client";
import { stale } from "../cache";
import { PlanRows } from "../customers/put_back";
import { useSubmit } from "../parts/form";
import { useUsers } from "../parts/people";
import { ProblemAlert } from "../parts/problem";
import { useMay } from "../session";
import { fromInput, moment, toInput } from "../time";
import { uuid } from "../uuid";

const kinds = ["REQUEST", "IMPORT", "PERSON"] as const;
type Kind = (typeof kinds)[number];
type Selection = Schemas["PutBackSelection"];

/** The preview of a selection, one button, and what came of it. An edit in between is shown by a new preview. */
function Plan({ selection }: { selection: Selection }) {
  const { t } = useTranslation();
  const [wanted] = useState(uuid);
  const [overwrite, setOverwrite] = useState(false);
  const { busy, error, run } = useSubmit(async (e) => {
    if (e instanceof Problem && e.code === "CHANGED_SINCE_PREVIEW") await preview.refetch();
    return e;
  });
  const [done, setDone] = useState<Schemas["PutBackDone"]>();
  const preview = useQuery({ queryKey: ["put-back", selection], gcTime: 0, staleTime: Number.POSITIVE_INFINITY, queryFn: () => write("post", "/v1/put-backs/preview", { body: selection }) });
  const plan = preview.data;
  const submit = () =>
    plan && run(async () => {
      setDone(await write("post", "/v1/put-backs", { body: { ...selection, id: wanted, seen: plan.seen, overwrite } }));
      await stale(["customer"]);
    });
  if (done)
    return (
      <Alert color="green" title={t("putBack.done")} data-put-back-done>
        {t("putBack.result", { changed: done.changed, conflicts: done.conflicts, left: done.left, outOfScope: done.out_of_scope })}
      </Alert>
    );
  return (
    <section className="sheet">
      <div className="heading">{t("putBack.preview")}</div>
      <ProblemAlert error={error ?? preview.error} />
      {preview.isPending && <Loader size="sm" m="sm" />}
      {plan && (
        <Stack gap="sm" className="pad">
          <Text fz="sm" data-put-back-counts>{t("putBack.counts", { rows: plan.rows, conflicts: plan.conflicts, left: plan.left, outOfScope: plan.out_of_scope })}</Text>
          {plan.rows === 0 && <Alert color="gray">{t("putBack.nothing")}</Alert>}
          <PlanRows plan={plan} link={(id) => <Anchor component={Link} to="/customers/$customerId" params={{ customerId: id } as never} fz="xs">{t("putBack.open")}</Anchor>} />
          {plan.rows + plan.left > plan.items.length && <Text fz="xs" className="faint">{t("putBack.firstRows", { count: plan.items.length })}</Text>}
          {plan.conflicts > 0 && <Checkbox checked={overwrite} onChange={(e) => setOverwrite(e.currentTarget.checked)} label={t("putBack.overwrite")} />}
          <Group><Button loading={busy} disabled={plan.rows === 0} onClick={() => void submit()}>{t("putBack.submit")}</Button></Group>
        </Stack>
      )}
    </section>
  );
}

/** Puts back what one request, one import, or one person in an interval has changed. */
export function PutBackPage() {
  const { t } = useTranslation();
  const may = useMay();
  const given = useSearch({ strict: false }) as { kind?: string; request_id?: string; around?: string; import_id?: string };
  const [kind, setKind] = useState<Kind>(kinds.find((k) => k === given.kind) ?? "REQUEST");
  const [request, setRequest] = useState(given.request_id ?? "");
  const [around, setAround] = useState(toInput(given.around ?? new Date()));
  const [chosenImport, setChosenImport] = useState(given.import_id ?? "");
  const [person, setPerson] = useState("");
  const [from, setFrom] = useState(toInput(new Date(Date.now() - 3_600_000)));
  const [to, setTo] = useState(toInput(new Date(Date.now() + 60_000)));
  const [shown, setShown] = useState<{ at: number; selection: Selection }>();
  const imports = useQuery({ queryKey: ["imports", "choice"], enabled: kind === "IMPORT" && may("list_imports"), queryFn: () => read("/v1/imports", { query: { limit: 200 } }) });
  const users = useUsers(kind === "PERSON");
  const selections: Record<Kind, Selection | undefined> = {
    REQUEST: request && fromInput(around) ? { kind, request_id: request.trim(), around: fromInput(around) as string } : undefined,
    IMPORT: chosenImport ? { kind, import_id: chosenImport } : undefined,
    PERSON: person && fromInput(from) && fromInput(to) ? { kind, user_id: person, from: fromInput(from) as string, to: fromInput(to) as string } : undefined,
  };
  const selection = selections[kind];
  const show = (event: FormEvent) => {
    event.preventDefault();
    if (selection) setShown({ at: Date.now(), selection });
  };
  return (
    <main className="page">
      <Stack gap="sm">
        <form onSubmit={show} className="sheet">
          <div className="heading">{t("putBack.page")}</div>
          <Stack gap="sm" className="pad">
            <Text fz="sm" className="faint">{t("putBack.hint")}</Text>
            <SegmentedControl w="fit-content" value={kind} onChange={(k) => { setKind(k as Kind); setShown(undefined); }} data={kinds.map((k) => ({ value: k, label: t(`putBack.kind.${k}`) }))} />
            <Group align="end">
              {kind === "REQUEST" && <TextInput name="request_id" w={320} label={t("putBack.request")} value={request} onChange={(e) => setRequest(e.currentTarget.value)} />}
              {kind === "REQUEST" && <TextInput name="around" type="datetime-local" label={t("putBack.around")} value={around} onChange={(e) => setAround(e.currentTarget.value)} />}
              {kind === "IMPORT" && may("list_imports") && (
                <NativeSelect name="import_id" w={360} label={t("putBack.import")} value={chosenImport} onChange={(e) => setChosenImport(e.currentTarget.value)}
                  data={[{ value: "", label: t("common.choose") }, ...(imports.data?.items ?? []).map((i) => ({ value: i.id, label: `${i.file_name} ${moment(i.created_at)}` }))]} />
              )}
              {kind === "IMPORT" && !may("list_imports") && <TextInput name="import_id" w={360} label={t("putBack.import")} value={chosenImport} onChange={(e) => setChosenImport(e.currentTarget.value.trim())} />}
              {kind === "PERSON" && may("list_users") && (
                <NativeSelect name="user_id" w={280} label={t("putBack.person")} value={person} onChange={(e) => setPerson(e.currentTarget.value)}
                  data={[{ value: "", label: t("common.choose") }, ...(users.data ?? []).map((u) => ({ value: u.id, label: `${u.display_name} (${u.login})` }))]} />
              )}
              {kind === "PERSON" && !may("list_users") && <TextInput name="user_id" w={320} label={t("putBack.person")} value={person} onChange={(e) => setPerson(e.currentTarget.value.trim())} />}
              {kind === "PERSON" && <TextInput name="from" type="datetime-local" label={t("putBack.from")} value={from} onChange={(e) => setFrom(e.currentTarget.value)} />}
              {kind === "PERSON" && <TextInput name="to" type="datetime-local" label={t("putBack.to")} value={to} onChange={(e) => setTo(e.currentTarget.value)} />}
              <Button type="submit" variant="default" disabled={!selection}>{t("putBack.look")}</Button>
            </Group>
          </Stack>
        </form>
        {shown && <Plan key={shown.at} selection={shown.selection} />}
      </Stack>
    </main>
  );
}
