#include <fmt/format.h>

#include "takeover/switch/fence.hpp"

namespace enishi::takeover {
namespace {

constexpr std::string_view kSetup = R"sql(-- Enishi's fence. To be run once by the owner of the tables below; may be run again.
create schema if not exists enishi;

create table if not exists enishi.fence (
  domain text primary key,
  state text not null default 'OPEN' check (state in ('OPEN', 'FENCED', 'SEALED')),
  epoch bigint not null default 0,
  lapses_at timestamptz,
  changed_at timestamptz not null default clock_timestamp()
);
create table if not exists enishi.fenced_table (
  domain text not null references enishi.fence on delete cascade,
  relation regclass not null,
  primary key (domain, relation)
);
create table if not exists enishi.applied (
  request uuid primary key,
  legacy_key text,
  at timestamptz not null default now()
);
create table if not exists enishi.marker (
  domain text primary key,
  epoch bigint not null,
  at timestamptz not null default clock_timestamp()
);
create table if not exists enishi.reversed (
  domain text primary key,
  last_xid bigint not null default 0,
  last_id bigint not null default 0,
  at timestamptz not null default clock_timestamp()
);
-- Batches of the reverse stream under the fence's epoch: a database that was taken back to an earlier time is noticed by them.
alter table enishi.reversed add column if not exists epoch bigint not null default 0;
alter table enishi.reversed add column if not exists batch bigint not null default 0;

-- Statement trigger. What the plain read lets through is read again with a lock, which the seal waits for and which fails in a transaction whose
-- snapshot is older than the fence.
create or replace function enishi.refuse_write() returns trigger language plpgsql security definer set search_path = pg_catalog as $$
declare
  f record;
begin
  select x.state, x.epoch, coalesce(x.lapses_at <= clock_timestamp(), false) as lapsed into f from enishi.fence x where x.domain = tg_argv[0];
  if f.state = 'OPEN' or f.state = 'FENCED' and f.lapsed then
    select x.state, x.epoch, coalesce(x.lapses_at <= clock_timestamp(), false) as lapsed into f from enishi.fence x where x.domain = tg_argv[0] for share;
    if f.state is null or f.state = 'OPEN' or f.state = 'FENCED' and f.lapsed then return null; end if;
  end if;
  if f.state = 'SEALED' then
    if current_setting('enishi.epoch', true) = tg_argv[0] || ' ' || f.epoch then return null; end if;
    raise exception using errcode = 'EN003', message = format('%s cannot be changed here any more: Enishi owns the domain %s', tg_table_name, tg_argv[0]),
      hint = 'Change it in Enishi. Changes made there are copied to this database.';
  end if;
  raise exception using errcode = 'EN001', message = format('%s cannot be changed for a moment: the domain %s is being moved to Enishi', tg_table_name, tg_argv[0]),
    hint = 'Try again in a few seconds.';
end $$;

-- The registered tables with all that hang below them.
create or replace function enishi.fenced_relations(of_domain text) returns setof regclass language sql stable security definer set search_path = pg_catalog as $$
  with recursive tree as (
    select t.relation::oid as relation from enishi.fenced_table t where t.domain = of_domain
    union select i.inhrelid from pg_inherits i join tree p on p.relation = i.inhparent)
  select c.oid::regclass from pg_class c where c.oid in (select relation from tree) and c.relkind in ('r', 'p') order by c.oid
$$;

create or replace function enishi.install_fence(of_domain text) returns void language plpgsql security definer set search_path = pg_catalog as $$
declare
  r regclass;
begin
  for r in select enishi.fenced_relations(of_domain) loop
    if not exists (select from pg_trigger g where g.tgrelid = r and g.tgname = 'a_enishi_fence_' || of_domain) then
      execute format('create trigger %I before insert or update or delete or truncate on %s for each statement execute function enishi.refuse_write(%L)',
                     'a_enishi_fence_' || of_domain, r, of_domain);
      execute format('alter table %s disable trigger %I', r, 'a_enishi_fence_' || of_domain);
    end if;
  end loop;
end $$;

-- Waits for whoever writes now, no longer than this altogether: afterwards their tables are locked and every writer has ended.
create or replace function enishi.lock_fenced(of_domain text, milliseconds integer) returns void language plpgsql security definer set search_path = pg_catalog as $$
declare
  r regclass;
  ends_at timestamptz := clock_timestamp() + milliseconds * interval '1 millisecond';
  was text := current_setting('lock_timeout');
  remaining integer;
begin
  for r in select enishi.fenced_relations(of_domain) loop
    remaining := (extract(epoch from ends_at - clock_timestamp()) * 1000)::integer;
    if remaining < 1 then raise exception using errcode = 'lock_not_available', message = 'the tables of ' || of_domain || ' are busy'; end if;
    perform set_config('lock_timeout', remaining::text, true);
    execute format('lock table only %s in share row exclusive mode', r);
  end loop;
  perform set_config('lock_timeout', was, true);
end $$;

create or replace function enishi.raise_fence(of_domain text, new_epoch bigint, seconds double precision, milliseconds integer) returns timestamptz
language plpgsql security definer set search_path = pg_catalog as $$
declare
  f enishi.fence;
  r regclass;
begin
  perform enishi.lock_fenced(of_domain, milliseconds);
  select * into f from enishi.fence x where x.domain = of_domain for update;
  if f.domain is null then raise exception using errcode = 'EN404', message = 'there is no fence for ' || of_domain; end if;
  if f.epoch >= new_epoch or f.state = 'SEALED' then
    raise exception using errcode = 'EN409', constraint = 'FENCE_STALE', message = format('the fence of %s is %s since epoch %s', of_domain, f.state, f.epoch);
  end if;
  perform enishi.install_fence(of_domain);
  for r in select enishi.fenced_relations(of_domain) loop
    execute format('alter table %s enable always trigger %I', r, 'a_enishi_fence_' || of_domain);
  end loop;
  update enishi.fence x set state = 'FENCED', epoch = new_epoch, lapses_at = clock_timestamp() + seconds * interval '1 second', changed_at = clock_timestamp()
   where x.domain = of_domain returning * into f;
  return f.lapses_at;
end $$;

create or replace function enishi.mark(of_domain text, of_epoch bigint) returns pg_lsn language plpgsql security definer set search_path = pg_catalog as $$
declare
  at_lsn pg_lsn := pg_current_wal_insert_lsn();
begin
  insert into enishi.marker (domain, epoch) values (of_domain, of_epoch) on conflict (domain) do update set epoch = excluded.epoch, at = clock_timestamp();
  return at_lsn;
end $$;

-- The lock waits for writers whom a lapse let through; the clock is read after that.
create or replace function enishi.seal_fence(of_domain text, of_epoch bigint) returns boolean language plpgsql security definer set search_path = pg_catalog as $$
declare
  f enishi.fence;
begin
  select * into f from enishi.fence x where x.domain = of_domain for update;
  if f.epoch is distinct from of_epoch or f.state = 'OPEN' then return false; end if;
  if f.state = 'SEALED' then return true; end if;
  if f.lapses_at <= clock_timestamp() then return false; end if;
  update enishi.fence x set state = 'SEALED', lapses_at = null, changed_at = clock_timestamp() where x.domain = of_domain;
  return true;
end $$;

create or replace function enishi.lower_fence(of_domain text, of_epoch bigint) returns boolean language plpgsql security definer set search_path = pg_catalog as $$
begin
  update enishi.fence x set state = 'OPEN', epoch = of_epoch, lapses_at = null, changed_at = clock_timestamp()
   where x.domain = of_domain and x.epoch <= of_epoch and (x.epoch < of_epoch or x.state <> 'OPEN');
  return exists (select from enishi.fence x where x.domain = of_domain and x.epoch = of_epoch and x.state = 'OPEN');
end $$;

-- Disables the triggers of a fence that is open; true when there is nothing left to do.
create or replace function enishi.sleep_fence(of_domain text, milliseconds integer) returns boolean language plpgsql security definer set search_path = pg_catalog as $$
declare
  r regclass;
  open boolean;
begin
  if not exists (select from pg_trigger g where g.tgname = 'a_enishi_fence_' || of_domain and g.tgenabled <> 'D') then return true; end if;
  perform enishi.lock_fenced(of_domain, milliseconds);
  select x.state = 'OPEN' into open from enishi.fence x where x.domain = of_domain for update;
  if not coalesce(open, false) then return true; end if;
  for r in select enishi.fenced_relations(of_domain) loop
    if exists (select from pg_trigger g where g.tgrelid = r and g.tgname = 'a_enishi_fence_' || of_domain) then
      execute format('alter table %s disable trigger %I', r, 'a_enishi_fence_' || of_domain);
    end if;
  end loop;
  return true;
end $$;

create or replace function enishi.drop_fence(of_domain text, of_epoch bigint) returns boolean language plpgsql security definer set search_path = pg_catalog as $$
declare
  r regclass;
begin
  if exists (select from enishi.fence x where x.domain = of_domain and x.epoch > of_epoch) then return false; end if;
  perform enishi.lock_fenced(of_domain, 2000);
  for r in select enishi.fenced_relations(of_domain) loop
    execute format('drop trigger if exists %I on %s', 'a_enishi_fence_' || of_domain, r);
  end loop;
  update enishi.fence x set state = 'OPEN', epoch = of_epoch, lapses_at = null, changed_at = clock_timestamp() where x.domain = of_domain;
  return true;
end $$;

-- The reverse stream's transaction: it holds the seal until it ends, and its mark passes the fence.
create or replace function enishi.begin_reverse(of_domain text, of_epoch bigint, out last_xid bigint, out last_id bigint)
language plpgsql security definer set search_path = pg_catalog as $$
declare
  f enishi.fence;
begin
  select * into f from enishi.fence x where x.domain = of_domain for share;
  if f.state is distinct from 'SEALED' or f.epoch <> of_epoch then
    raise exception using errcode = 'EN409', constraint = 'FENCE_STALE', message = format('the fence of %s is %s since epoch %s', of_domain, f.state, f.epoch);
  end if;
  perform set_config('enishi.epoch', of_domain || ' ' || f.epoch, true);
  insert into enishi.reversed (domain) values (of_domain) on conflict do nothing;
  select x.last_xid, x.last_id into last_xid, last_id from enishi.reversed x where x.domain = of_domain for update;
end $$;

-- `records` were made in Enishi and got these keys here: kept, so that a crash before Enishi has stored them makes no second record.
create or replace function enishi.note_reversed(of_domain text, of_xid bigint, of_id bigint, records uuid[], keys text[]) returns void
language sql security definer set search_path = pg_catalog as $$
  insert into enishi.applied (request, legacy_key) select r.record, r.key from unnest(records, keys) r(record, key) on conflict (request) do nothing;
  update enishi.reversed x set last_xid = of_xid, last_id = of_id, at = clock_timestamp() where x.domain = of_domain
$$;

create or replace function enishi.count_batch(of_domain text, of_epoch bigint, of_batch bigint) returns void
language sql security definer set search_path = pg_catalog as $$
  update enishi.reversed x set epoch = of_epoch, batch = of_batch where x.domain = of_domain
$$;

create or replace function enishi.reversed_keys(records uuid[]) returns table (record uuid, key text) language sql stable security definer set search_path = pg_catalog as $$
  select a.request, a.legacy_key from enishi.applied a where a.request = any (records) and a.legacy_key is not null
$$;

)sql";

std::string literal(std::string_view text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("''") : std::string(1, c);
  return out + "'";
}

}  // namespace

const std::vector<std::string>& fence_tables() {
  static const std::vector<std::string> all{"enishi.marker", "enishi.reversed"};
  return all;
}

std::string fence_setup_sql(const Mapping& mapping, std::string_view login) {
  const auto domain = literal(mapping.domain);
  const auto role = quote_identifier(login);
  std::string out(kSetup);
  out += fmt::format("insert into enishi.fence (domain) values ({}) on conflict do nothing;\n", domain);
  for (const auto& table : mapping.tables)
    if (table.root_sql.empty() || !table.root.empty())
      out += fmt::format("insert into enishi.fenced_table (domain, relation) values ({}, {}::regclass) on conflict do nothing;\n", domain,
                         literal(quote_table(table.name)));
  out += fmt::format("do $$ begin perform enishi.install_fence({}); end $$;\n", domain);
  const auto publication = mapping.publication();
  for (const auto& table : fence_tables())
    out += fmt::format(
        "do $$ begin if exists (select from pg_publication p where p.pubname = {0} and not p.puballtables) and not exists (select from "
        "pg_publication_tables t where t.pubname = {0} and t.schemaname || '.' || t.tablename = {2}) then alter publication {1} add table "
        "{3}; "
        "end if; end $$;\n",
        literal(publication), quote_identifier(publication), literal(table), table);
  out += fmt::format("grant usage on schema enishi to {};\n", role);
  out += fmt::format("grant select on enishi.fence, enishi.fenced_table, enishi.marker, enishi.reversed to {};\n", role);
  for (const char* function :
       {"refuse_write()", "fenced_relations(text)", "install_fence(text)", "lock_fenced(text, integer)",
        "raise_fence(text, bigint, double precision, integer)", "mark(text, bigint)", "seal_fence(text, bigint)",
        "lower_fence(text, bigint)", "sleep_fence(text, integer)", "drop_fence(text, bigint)", "begin_reverse(text, bigint)",
        "note_reversed(text, bigint, bigint, uuid[], text[])", "count_batch(text, bigint, bigint)", "reversed_keys(uuid[])"}) {
    out += fmt::format("revoke execute on function enishi.{} from public;\n", function);
    out += fmt::format("grant execute on function enishi.{} to {};\n", function, role);
  }
  return out;
}

}  // namespace enishi::takeover
