-- Switch, reverse stream, revert and complete of a domain (docs/takeover/switch.md).

-- A domain whose source has seen a later epoch than this database knows: it was restored from a backup. Nobody may write until somebody has decided.
alter table domain_ownership add column read_only text;

-- What somebody has to look at; shown until it is acknowledged.
create table takeover_alarm (
  id bigint generated always as identity primary key,
  domain text not null references domain_ownership,
  kind text not null check (kind in ('FOREIGN_CHANGE', 'SOURCE_AHEAD', 'FENCE_OPEN', 'REVERSE_FAILED', 'SLOT_LOST', 'SLOT_GIVEN_UP')),
  detail jsonb not null default '{}',
  times bigint not null default 1,
  first_at timestamptz not null default now(),
  last_at timestamptz not null default now(),
  acknowledged_at timestamptz
);
create unique index takeover_alarm_open on takeover_alarm (domain, kind) where acknowledged_at is null;

create function raise_alarm(of_domain text, of_kind text, what jsonb) returns void language sql as $$
  insert into public.takeover_alarm as a (domain, kind, detail) values (of_domain, of_kind, what)
  on conflict (domain, kind) where acknowledged_at is null do update set detail = excluded.detail, times = a.times + 1, last_at = now()
$$;

-- Records that could not be written back, with the reason; tried again at their time, and a revert is refused while there are some.
create table takeover_reverse_failure (
  domain text not null references domain_ownership,
  record_id uuid not null,
  code text not null,
  detail text not null,
  attempts integer not null default 1,
  first_at timestamptz not null default now(),
  retry_at timestamptz not null default now() + interval '1 second',
  primary key (domain, record_id)
);

alter table takeover_diff_run add column next_key text;             -- resumes behind this key
alter table takeover_diff_run add column snapshot_xmax bigint;      -- of the source, before the first record was read
alter table takeover_diff_run add column era integer;
alter table takeover_diff_run add column records_per_second integer not null default 0;

grant delete on takeover_reverse_failure to enishi_app;

-- Reverse queue: the writing transaction notes which record it changed. The triggers are there from the first switch until completion.
create function queue_reverse() returns trigger language plpgsql security definer set search_path = pg_catalog, public as $$
begin
  insert into takeover_reverse (domain, record_id)
  select tg_argv[0], r from (select (to_jsonb(case when tg_op = 'DELETE' then old else new end) ->> tg_argv[1])::uuid
                             union select (to_jsonb(old) ->> tg_argv[1])::uuid where tg_op = 'UPDATE') x(r) where r is not null;
  return null;
end $$;

create function reverse_tables(of_domain text) returns table (relation regclass, key_column text) language sql stable as $$
  select x.relation::regclass, x.key_column from (values
    ('customer', 'customer', 'id'), ('customer', 'customer_phone', 'customer_id'), ('customer', 'customer_address', 'customer_id'), ('customer', 'customer_email', 'customer_id'),
    ('inquiry', 'inquiry', 'id'), ('inquiry', 'inquiry_item', 'inquiry_id'), ('goods', 'goods', 'id')) x(domain, relation, key_column) where x.domain = of_domain
$$;

create function reverse_on(of_domain text) returns void language plpgsql security definer set search_path = pg_catalog, public as $$
declare
  t record;
begin
  for t in select * from reverse_tables(of_domain) loop
    if not exists (select from pg_trigger g where g.tgrelid = t.relation and g.tgname = 'y_reverse') then
      execute format('create trigger y_reverse after insert or update or delete on %s for each row when (%s) execute function queue_reverse(%L, %L)',
                     t.relation, when_not_mirroring(), of_domain, t.key_column);
    end if;
  end loop;
end $$;

create function reverse_off(of_domain text) returns void language plpgsql security definer set search_path = pg_catalog, public as $$
declare
  t record;
begin
  for t in select * from reverse_tables(of_domain) loop
    execute format('drop trigger if exists y_reverse on %s', t.relation);
  end loop;
end $$;

-- OWNED → LOCAL, when nothing is left to be written back; the lock keeps writers off until this transaction ends.
create function complete_domain(of_domain text, of_epoch bigint) returns boolean language plpgsql security definer set search_path = pg_catalog, public as $$
begin
  perform pg_advisory_xact_lock(1162760521, o.number) from domain_ownership o where o.domain = of_domain;
  if exists (select from takeover_reverse r where r.domain = of_domain) or exists (select from takeover_reverse_failure f where f.domain = of_domain) then
    return false;
  end if;
  return move_domain(of_domain, 'OWNED', of_epoch, 'LOCAL');
end $$;

-- Keys that the mirror makes for records born here come from reverse.sql: the identity is told, once.
create function learn_identity(of_system text, of_domain text, key text, record uuid, of_era integer) returns void language sql security definer set search_path = pg_catalog, public as $$
  insert into legacy_identity (system, domain, legacy_key, id, era, snapshot_xmax, in_progress) values (of_system, of_domain, key, record, of_era, 0, 0)
  on conflict (system, domain, legacy_key) do nothing
$$;

create function set_read_only(of_domain text, reason text) returns void language sql security definer set search_path = pg_catalog, public as $$
  update domain_ownership set read_only = reason, changed_at = clock_timestamp() where domain = of_domain and read_only is distinct from reason
$$;

revoke execute on function reverse_on(text), reverse_off(text), complete_domain(text, bigint), learn_identity(text, text, text, uuid, integer), set_read_only(text, text), raise_alarm(text, text, jsonb)
  from enishi_read;

-- The canonical record with Enishi's ids in it and in its children, for reverse.sql.
create function with_ids(children jsonb, ids uuid[]) returns jsonb language sql immutable as $$
  select coalesce(jsonb_agg(e.v || jsonb_build_object('id', ids[e.n]) order by e.n), '[]') from jsonb_array_elements(children) with ordinality e(v, n)
$$;

create function record_with_ids(of_domain text, of_system text, wanted uuid) returns jsonb language plpgsql stable as $$
declare
  record jsonb := public.canonical_record(of_domain, of_system, wanted);
begin
  if record is null then return null; end if;
  record := record || jsonb_build_object('id', wanted);
  if of_domain = 'customer' then
    return record || jsonb_build_object(
      'phones', public.with_ids(record -> 'phones', array(select p.id from public.customer_phone p where p.customer_id = wanted and p.deleted_at is null order by p.position, p.id)),
      'addresses', public.with_ids(record -> 'addresses', array(select a.id from public.customer_address a where a.customer_id = wanted and a.deleted_at is null order by a.position, a.id)),
      'emails', public.with_ids(record -> 'emails', array(select e.id from public.customer_email e where e.customer_id = wanted and e.deleted_at is null order by e.position, e.id)));
  elsif of_domain = 'inquiry' then
    return record || jsonb_build_object(
      'items', public.with_ids(record -> 'items', array(select t.id from public.inquiry_item t where t.inquiry_id = wanted and t.deleted_at is null order by t.position, t.id)));
  end if;
  return record;
end $$;

-- What differs between two canonical records: pointer, value here, value there; '' is the whole record.
create function record_differences(here jsonb, there jsonb, pointer text default '') returns table (at text, h jsonb, t jsonb) language plpgsql immutable as $$
begin
  if here is not distinct from there and here::text is not distinct from there::text then return; end if;
  if jsonb_typeof(here) = 'object' and jsonb_typeof(there) = 'object' then
    return query select d.* from (select coalesce(a.key, b.key) as key, a.value as x, b.value as y from jsonb_each(here) a full join jsonb_each(there) b on b.key = a.key) m,
      lateral public.record_differences(m.x, m.y, pointer || '/' || replace(replace(m.key, '~', '~0'), '/', '~1')) d;
  elsif jsonb_typeof(here) = 'array' and jsonb_typeof(there) = 'array' then
    return query select d.* from (select coalesce(a.n, b.n) as n, a.v as x, b.v as y from jsonb_array_elements(here) with ordinality a(v, n)
                                    full join jsonb_array_elements(there) with ordinality b(v, n) on b.n = a.n) m,
      lateral public.record_differences(m.x, m.y, pointer || '/' || (m.n - 1)) d;
  else
    at := pointer; h := here; t := there;
    return next;
  end if;
end $$;
