-- What every domain table stands on: owners and their gate, history, outbox, idempotent answers, state machines, rules as data.
--
-- Rules say no with an SQLSTATE of ours, so that the driver can tell them apart (src/pg/errors.hpp):
--   EN001 gate shut for a moment · EN002 a legacy system owns the domain
--   EN403 EN404 EN409 EN412 EN422: CONSTRAINT is the stable code, MESSAGE a sentence, DETAIL a JSON object

create extension if not exists btree_gist;

-- The application (enishi_app) reads and writes rows, and neither deletes nor changes the schema; what differs from that says so beside
-- its table. enishi_read only reads.
alter default privileges in schema public grant select, insert, update on tables to enishi_app;
alter default privileges in schema public grant usage, select on sequences to enishi_app;
alter default privileges in schema public grant select on tables to enishi_read;
alter default privileges revoke execute on functions from public;
alter default privileges in schema public grant execute on functions to enishi_app, enishi_read;

-- Who says no, in one place: raises `code` with a kind's SQLSTATE.
create function refuse(kind text, code text, message text, detail jsonb default '{}') returns void
language plpgsql as $$
begin
  raise exception using errcode = 'EN' || kind, constraint = code, message = message, detail = detail::text;
end $$;

-- A UUIDv7 (RFC 9562) for rows that the database makes by itself: milliseconds, then random bits; 0100 of version 4 becomes 0111.
create function new_id() returns uuid language sql volatile as $$
  select encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) placing
    substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3) from 1 for 6), 52, 1), 53, 1), 'hex')::uuid
$$;

-- Owners of domains ----------------------------------------------------------------------------------------------------

create table domain_ownership (
  domain text primary key,
  number integer not null unique,           -- second key of the gate's advisory lock
  state text not null default 'LOCAL' check (state in ('LOCAL', 'LEGACY', 'SWITCHING', 'OWNED', 'REVERTING')),
  system text,                              -- the legacy system, unless LOCAL
  epoch bigint not null default 0,
  changed_at timestamptz not null default now(),
  check ((state = 'LOCAL') or system is not null)
);
insert into domain_ownership (domain, number) values
  ('customer', 1), ('inquiry', 2), ('call', 3), ('visit', 4), ('compliance', 5), ('master', 6);

-- Statement trigger of every domain table: gate(domain, number). The mover of a domain holds the lock exclusively while it decides;
-- a writer that cannot share it, or finds the domain between two owners, rolls back and waits in its process.
create function gate() returns trigger language plpgsql as $$
declare
  current_state text;
begin
  if not pg_try_advisory_xact_lock_shared(1162760521, tg_argv[1]::integer) then
    raise exception using errcode = 'EN001', message = 'the domain ' || tg_argv[0] || ' is changing hands';
  end if;
  select state into current_state from public.domain_ownership where domain = tg_argv[0];
  if current_state in ('LOCAL', 'OWNED') then return null; end if;
  if current_state = 'LEGACY' then
    raise exception using errcode = 'EN002', message = 'the domain ' || tg_argv[0] || ' belongs to a legacy system';
  end if;
  raise exception using errcode = 'EN001', message = 'the domain ' || tg_argv[0] || ' is changing hands';
end $$;

-- History, which is the outbox too --------------------------------------------------------------------------------------

-- Append-only, partitioned by month: a row for each change, written by it. `content` is the row after the change (for a delete, before it); what was there before is the entry before.
-- Both content and salt can be erased; then `digest` = sha256(salt || content) stays as proof, which is not kept as long as anybody can compute it.
-- Readers in order go by (xid, id) below the xmin horizon. No unique index and no check, for each is paid for with every change, and only record_change() writes here.
create table history (
  id bigint generated always as identity,
  at timestamptz not null default clock_timestamp(),
  xid xid8 not null default pg_current_xact_id(),
  table_name text not null,
  row_id uuid not null,
  customer_id uuid,
  op text not null,                         -- INSERT, UPDATE, DELETE
  entity text,                              -- what the event is called after; null: no event
  actor text not null,
  request_id text,
  content jsonb,
  salt uuid default gen_random_uuid(),
  digest bytea
) partition by range (at);
create index history_row on history (row_id, at desc, id desc);
create index history_order on history (xid, id);
create index history_at on history using brin (at) with (autosummarize = on);

-- The outbox: events in the order of (xid, id), of the last 7 days. Never a person's data.
create view outbox as
  select h.xid, h.id, h.at, h.entity || '.' || lower(h.op) as kind, h.entity, h.row_id as entity_id,
         (h.content ->> 'team_id')::uuid as team_id, (h.content ->> 'owner_id')::uuid as owner_id,
         jsonb_strip_nulls(jsonb_build_object('version', h.content -> 'version', 'state', coalesce(h.content -> 'state', h.content -> 'stage'),
           'customer_id', h.content -> 'customer_id', 'inquiry_id', h.content -> 'inquiry_id')) as payload
    from history h
   where h.entity is not null and h.at > now() - interval '7 days';

revoke insert, update on history, outbox, domain_ownership from enishi_app;

-- Partitions of this month and the next ones; called by migrations and once a day by the server.
create function ensure_history_partitions(first date default date_trunc('month', now())::date, months integer default 3) returns void
language plpgsql security definer as $$
declare
  m date := date_trunc('month', first)::date;
begin
  for i in 1..months loop
    if to_regclass('public.history_' || to_char(m, 'YYYYMM')) is null then
      execute format('create table public.%I partition of public.history for values from (%L) to (%L)',
                     'history_' || to_char(m, 'YYYYMM'), m::text || ' 00:00+00', (m + interval '1 month')::date::text || ' 00:00+00');
      execute format('revoke insert, update on public.%I from enishi_app', 'history_' || to_char(m, 'YYYYMM'));
    end if;
    m := (m + interval '1 month')::date;
  end loop;
end $$;
select ensure_history_partitions((now() - interval '2 months')::date, 6);
create table history_other partition of history default;
revoke insert, update on history_other from enishi_app;

-- Row trigger of every business table: record_change(entity, key column). Runs as the owner: the application may not write history by itself.
create function record_change() returns trigger language plpgsql security definer as $$
declare
  content jsonb := case tg_op when 'DELETE' then to_jsonb(old) else to_jsonb(new) end;
  row_id uuid := content ->> tg_argv[1];
begin
  insert into public.history (table_name, row_id, customer_id, op, entity, actor, request_id, content)
  values (tg_table_name, row_id, case tg_table_name when 'customer' then row_id else (content ->> 'customer_id')::uuid end, tg_op, nullif(tg_argv[0], ''),
          coalesce(nullif(current_setting('enishi.actor', true), ''), 'db:' || session_user), nullif(current_setting('enishi.request', true), ''), content);
  return null;
end $$;

-- Row trigger before update: the version that ETag and If-Match speak of.
create function touch() returns trigger language plpgsql as $$
begin
  new.version := old.version + 1;
  new.updated_at := now();
  return new;
end $$;

-- Everything that a business table needs, in one call: gate, version, history, outbox event (unless entity is '').
create function make_business_table(target regclass, domain text, entity text, key_column text default 'id', touched boolean default true)
returns void language plpgsql as $$
declare
  number integer := (select o.number from domain_ownership o where o.domain = make_business_table.domain);
begin
  if number is null then raise exception 'unknown domain %', domain; end if;
  execute format('create trigger a_gate before insert or update or delete on %s for each statement execute function gate(%L, %L)', target, domain, number::text);
  execute format('create trigger a_gate_truncate before truncate on %s for each statement execute function gate(%L, %L)', target, domain, number::text);
  if touched then
    execute format('create trigger b_touch before update on %s for each row execute function touch()', target);
  end if;
  execute format('create trigger z_record after insert or update or delete on %s for each row execute function record_change(%L, %L)', target, entity, key_column);
end $$;

-- Context of a write and its remembered answer ---------------------------------------------------------------------------

create table idempotency (
  principal uuid not null,
  key text not null,
  request_hash bytea not null,
  status integer not null,
  etag text,
  answer text not null,                     -- may hold a person's data: named in erasure_place, gone after 7 days
  created_at timestamptz not null default now(),
  primary key (principal, key)
);
create index idempotency_age on idempotency (created_at);
revoke all on idempotency from enishi_read;
revoke update on idempotency from enishi_app;
grant delete on idempotency to enishi_app;

-- First statement of every write: who, in which request, under which Idempotency-Key (null: none). Settings end with the transaction.
-- A key that is being worked on, was used for another body, or has its answer already, ends the transaction before it did anything.
create function begin_write(actor text, request text, principal uuid default null, key text default null, request_hash bytea default null)
returns void language plpgsql as $$
declare
  stored bytea;
begin
  perform set_config('enishi.actor', actor, true), set_config('enishi.request', request, true);
  if key is null then
    perform set_config('enishi.key', '', true);
    return;
  end if;
  if not pg_try_advisory_xact_lock(hashtextextended(principal::text || ' ' || key, 7)) then
    perform refuse('409', 'IDEMPOTENCY_KEY_IN_USE', 'A request with this Idempotency-Key is still being worked on; ask again in a moment.');
  end if;
  select i.request_hash into stored from public.idempotency i where i.principal = begin_write.principal and i.key = begin_write.key;
  if found then
    if stored <> begin_write.request_hash then
      perform refuse('422', 'IDEMPOTENCY_KEY_REUSED', 'This Idempotency-Key was used for another request; make a new key for a new request.');
    end if;
    perform refuse('409', 'IDEMPOTENCY_REPLAY', 'This request was answered already.');
  end if;
  perform set_config('enishi.key', key, true), set_config('enishi.principal', principal::text, true),
          set_config('enishi.hash', encode(request_hash, 'hex'), true);
end $$;

-- Last word of every write: remembers the answer under the running Idempotency-Key and gives it back.
create function answer(status integer, body json, etag text default null) returns json language plpgsql as $$
begin
  if coalesce(current_setting('enishi.key', true), '') <> '' then
    insert into public.idempotency (principal, key, request_hash, status, etag, answer)
    values (current_setting('enishi.principal')::uuid, current_setting('enishi.key'), decode(current_setting('enishi.hash'), 'hex'), status, etag, body::text);
  end if;
  return body;
end $$;

-- State machines ---------------------------------------------------------------------------------------------------------

-- The same table as in the code (a test compares them); what it does not list, the database refuses.
create table transition (
  entity text not null,
  from_state text not null,
  to_state text not null,
  primary key (entity, from_state, to_state)
);

revoke insert, update on transition from enishi_app;

-- Row trigger before update: check_transition(entity, column).
create function check_transition() returns trigger language plpgsql as $$
declare
  was text;
  wanted text;
begin
  if tg_argv[1] = 'stage' then
    was := old.stage; wanted := new.stage;
  else
    was := old.state; wanted := new.state;
  end if;
  -- Apart from the query, for an expression without one costs PL/pgSQL next to nothing.
  if was = wanted then return new; end if;
  if exists (select from public.transition t where t.entity = tg_argv[0] and t.from_state = was and t.to_state = wanted) then return new; end if;
  perform public.refuse('409', 'ILLEGAL_TRANSITION', format('A %s that is %s cannot become %s.', tg_argv[0], was, wanted),
    jsonb_build_object('entity', tg_argv[0], 'current_state', was, 'requested_state', wanted, 'allowed_transitions',
      coalesce((select jsonb_agg(t.to_state order by t.to_state) from public.transition t where t.entity = tg_argv[0] and t.from_state = was), '[]')));
  return null;
end $$;

-- Rules as data ----------------------------------------------------------------------------------------------------------

create table rule (
  name text not null,
  effective_from timestamptz not null,
  value jsonb not null,
  source text not null default '',          -- the law, or who decided
  primary key (name, effective_from)
);
insert into rule (name, effective_from, value, source) values
  ('business_time_zone', '2000-01-01', '"Asia/Tokyo"', 'configuration'),
  ('contact_hours', '2000-01-01', '{"from": "08:00", "to": "21:00"}', 'no calls or visits at night: 08:00 to 21:00 Japan time'),
  ('appointment_hold_seconds', '2000-01-01', '600', 'configuration'),
  ('task_lease_seconds', '2000-01-01', '120', 'configuration'),
  ('first_call_seconds', '2000-01-01', '300', 'first call within 5 minutes');

revoke update on rule from enishi_app;     -- a change is a new row with its effective_from

-- PL/pgSQL keeps its plan; as an SQL function it would be planned at each call.
create function rule_value(wanted text, at timestamptz default now()) returns jsonb language plpgsql stable as $$
begin
  return (select r.value from public.rule r where r.name = wanted and r.effective_from <= at order by r.effective_from desc limit 1);
end $$;

-- Whether a customer may be called or visited at that moment.
create function contact_hours_allow(at timestamptz) returns boolean language plpgsql stable as $$
declare
  hours jsonb := public.rule_value('contact_hours', at);
  local_time time := (at at time zone (public.rule_value('business_time_zone', at) #>> '{}'))::time;
begin
  return local_time >= (hours ->> 'from')::time and local_time < (hours ->> 'to')::time or (hours ->> 'to') = '24:00' and local_time >= (hours ->> 'from')::time;
end $$;

create function assert_contact_hours(at timestamptz) returns void language plpgsql stable as $$
begin
  if not public.contact_hours_allow(at) then
    perform public.refuse('409', 'OUTSIDE_CONTACT_HOURS', format('Customers are called and visited between %s and %s; this is %s.',
      public.rule_value('contact_hours', at) ->> 'from', public.rule_value('contact_hours', at) ->> 'to',
      to_char(at at time zone (public.rule_value('business_time_zone', at) #>> '{}'), 'HH24:MI')),
      jsonb_build_object('contact_hours', public.rule_value('contact_hours', at), 'at', at));
  end if;
end $$;

-- Every place where a person's content lives; an erasure visits them all.
create table erasure_place (
  place text primary key,
  how text not null
);
insert into erasure_place values
  ('history.content, history.salt', 'digest is set, then both are null, for the rows with the customer''s id'),
  ('idempotency.answer', 'rows of requests that touched the customer are deleted; all are gone after 7 days');

-- Views and exports of personal data, written in batches by the server.
create table personal_data_view (
  at timestamptz not null,
  user_id uuid not null,
  operation text not null,
  entity text not null,
  entity_id uuid,
  rows integer not null default 1,
  request_id text not null
);
-- A bloom filter for each 32 pages: a B-tree would touch another page for each customer who is shown, and cost a tenth of a screen pop. Asked through views_of_record().
create index personal_data_view_entity on personal_data_view using brin (entity_id uuid_bloom_ops (n_distinct_per_range = 4000, false_positive_rate = 0.01))
  with (pages_per_range = 32, autosummarize = on);
create index personal_data_view_user on personal_data_view (user_id, at);
revoke update on personal_data_view, erasure_place from enishi_app;
