import { Badge, Button, Group, Loader, Text, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Fragment, type KeyboardEvent, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { read, type Schemas, write } from "../api/client";
import { stale } from "../cache";
import { label } from "../i18n";
import { composing } from "../keyboard";
import { tellSaved, useSubmit } from "../parts/form";
import { ProblemAlert } from "../parts/problem";
import { useMay } from "../session";
import { useOperations } from "./operations";

type Scope = "" | Schemas["Scope"];
const scopes: Scope[] = ["", "own", "team", "all"];
const keyed: Record<string, Scope> = { "0": "", "-": "", "1": "own", o: "own", "2": "team", t: "team", "3": "all", a: "all" };
const grantsOf = (role: Schemas["Role"]) => new Map(role.permissions.map((p) => [p.operation, p.scope as Scope]));

/** Operation by role, moved through with the arrow keys as in a spreadsheet; nothing counts before it is saved. */
export function RolesSection() {
  const { t } = useTranslation();
  const may = useMay();
  const writable = may("set_role_permissions");
  const roles = useQuery({ queryKey: ["roles"], queryFn: () => read("/v1/roles") });
  const operations = useOperations();
  const [find, setFind] = useState("");
  const [changes, setChanges] = useState<Record<string, Scope>>({});
  const [at, setAt] = useState<[number, number]>([0, 0]);
  const { busy, error, run } = useSubmit((e) => {
    void stale(["roles"]);
    return e;
  });
  const grid = useRef<HTMLTableElement>(null);
  if (roles.error || operations.error) return <ProblemAlert error={roles.error ?? operations.error} retry={() => void roles.refetch()} />;
  if (!roles.data || !operations.data) return <Loader size="sm" />;
  const columns = roles.data.items;
  const granted = columns.map(grantsOf);
  const word = find.trim().toLowerCase();
  const rows = operations.data.filter((o) => !word || o.id.includes(word) || o.name.toLowerCase().includes(word));
  const key = (role: string, operation: string) => `${role} ${operation}`;
  const scopeOf = (row: number, column: number): Scope => {
    const role = columns[column]?.name ?? "";
    const operation = rows[row]?.id ?? "";
    return changes[key(role, operation)] ?? granted[column]?.get(operation) ?? "";
  };
  const set = (row: number, column: number, scope: Scope) => {
    const role = columns[column]?.name;
    const operation = rows[row]?.id;
    if (!writable || !role || !operation) return;
    setChanges((old) => {
      const { [key(role, operation)]: _, ...rest } = old;
      return scope === (granted[column]?.get(operation) ?? "") ? rest : { ...rest, [key(role, operation)]: scope };
    });
  };
  const go = (row: number, column: number) => {
    const to: [number, number] = [Math.max(0, Math.min(rows.length - 1, row)), Math.max(0, Math.min(columns.length - 1, column))];
    setAt(to);
    const cell = grid.current?.querySelector<HTMLElement>(`[data-cell="${to[0]}.${to[1]}"]`);
    cell?.focus();
    cell?.scrollIntoView({ block: "nearest", inline: "nearest" });
  };
  const press = (event: KeyboardEvent, row: number, column: number) => {
    if (event.ctrlKey || event.metaKey || event.altKey || composing(event)) return;
    const moves: Record<string, [number, number]> = { ArrowUp: [row - 1, column], ArrowDown: [row + 1, column], ArrowLeft: [row, column - 1], ArrowRight: [row, column + 1], Home: [row, 0], End: [row, columns.length - 1], PageUp: [row - 12, column], PageDown: [row + 12, column] };
    const move = moves[event.key];
    const scope = keyed[event.key.toLowerCase()];
    if (move) go(...move);
    else if (scope !== undefined) set(row, column, scope);
    else return;
    event.preventDefault();
  };
  const changed = Object.keys(changes).length;
  const save = () =>
    run(async () => {
      // On what stands there now: what somebody else changed meanwhile is kept.
      const fresh = await read("/v1/roles");
      for (const role of fresh.items) {
        const mine = Object.entries(changes).filter(([k]) => k.startsWith(`${role.name} `));
        if (mine.length === 0) continue;
        const all = grantsOf(role);
        for (const [k, scope] of mine) {
          const operation = k.slice(role.name.length + 1);
          if (scope) all.set(operation, scope);
          else all.delete(operation);
        }
        await write("put", "/v1/roles/{role}/permissions", { path: { role: role.name }, body: { permissions: [...all].map(([operation, scope]) => ({ operation, scope: scope as Schemas["Scope"] })) } });
        setChanges((old) => Object.fromEntries(Object.entries(old).filter(([k]) => !k.startsWith(`${role.name} `))));
      }
      tellSaved();
      await stale(["session"], ["roles"]);
    });
  let tag = "";
  return (
    <section className="sheet">
      <div className="heading">
        <h2 style={{ all: "unset" }}>{t("settings.roles")}</h2>
        <Group gap="xs">
          {changed > 0 && <Badge color="orange" data-changed={changed}>{t("roles.changed", { count: changed })}</Badge>}
          {changed > 0 && <Button size="compact-sm" variant="default" onClick={() => setChanges({})}>{t("roles.discard")}</Button>}
          {writable && <Button size="compact-sm" disabled={changed === 0} loading={busy} onClick={() => void save()} data-save-roles>{t("common.save")}</Button>}
        </Group>
      </div>
      <div className="pad">
        <Text fz="sm" className="faint" mb={6}>{t("roles.about")} {writable && t("roles.keys")}</Text>
        <TextInput aria-label={t("docs.find")} placeholder={t("docs.find")} value={find} onChange={(e) => { setFind(e.currentTarget.value); setAt([0, 0]); }} maw={320} name="find" />
        <ProblemAlert error={error} />
      </div>
      {rows.length === 0 && <div className="pad faint">{t("roles.noOperation")}</div>}
      <div className="matrix">
        <table ref={grid} role="grid" aria-label={t("settings.roles")} aria-readonly={!writable}>
          <thead>
            <tr><th scope="col">{t("roles.operation")}</th>{columns.map((r) => <th key={r.name} scope="col">{label("role", r.name)}</th>)}</tr>
          </thead>
          <tbody>
            {rows.map((o, row) => {
              const head = o.tag !== tag;
              tag = o.tag;
              return (
                <Fragment key={o.id}>
                  {head && <tr className="group"><th colSpan={columns.length + 1} scope="rowgroup">{label("operationTag", o.tag)}</th></tr>}
                  <tr>
                    <th scope="row"><span>{o.name}</span> <code>{o.id}</code></th>
                    {columns.map((r, column) => {
                      const scope = scopeOf(row, column);
                      const dirty = key(r.name, o.id) in changes;
                      return (
                        <td key={r.name} role="gridcell">
                          <button type="button" data-cell={`${row}.${column}`} data-grant={key(r.name, o.id)} data-scope={scope} data-dirty={dirty || undefined} tabIndex={at[0] === row && at[1] === column ? 0 : -1}
                            aria-label={`${label("role", r.name)} · ${o.name}: ${t(`roles.scope_${scope || "none"}`)}`} onFocus={() => setAt([row, column])} onKeyDown={(e) => press(e, row, column)}
                            onClick={() => set(row, column, scopes[(scopes.indexOf(scope) + 1) % scopes.length] as Scope)}>
                            {scope ? t(`roles.scope_${scope}`) : "—"}
                          </button>
                        </td>
                      );
                    })}
                  </tr>
                </Fragment>
              );
            })}
          </tbody>
        </table>
      </div>
    </section>
  );
}
