-- Takeover: domains that live in a legacy system, mirrored until they are switched. What each table is for stands in docs/takeover/mapping.md.
--
-- A domain in state LEGACY refuses everybody's writes at its gate (EN002) but the mirror's. The mirror writes through the apply_… functions
-- below, which belong to the owner of the schema; mirroring() is true only inside them: the setting alone is worth nothing to a role that may
-- not write domain_ownership.

insert into domain_ownership (domain, number) values ('goods', 7) on conflict do nothing;

-- Goods a company holds or sold, as its stock system knows them: shown on the customer's card.
create table goods (
  id uuid primary key,
  customer_id uuid references customer,
  inquiry_id uuid references inquiry,
  item_category_id uuid references item_category,
  name text not null check (length(name) between 1 and 500),
  description text not null default '' check (length(description) <= 10000),
  state text not null default '' check (length(state) <= 40),
  price_yen bigint check (price_yen >= 0),
  received_on date,
  custom jsonb not null default '{}' check (jsonb_typeof(custom) = 'object'),
  version integer not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz
);
create index goods_customer on goods (customer_id, id) where deleted_at is null;
create index goods_inquiry on goods (inquiry_id) where deleted_at is null;
select make_business_table('goods', 'goods', 'goods');

-- Sources and domains ----------------------------------------------------------------------------------------------------

create table takeover_source (
  system text primary key check (system ~ '^[a-z][a-z0-9_]{0,39}$'),
  conninfo text not null,                   -- libpq's; a password belongs into a passfile that it names
  created_at timestamptz not null default now()
);

create table takeover_domain (
  domain text primary key references domain_ownership,
  system text not null references takeover_source,
  mapping jsonb not null,                   -- {"mapping.toml": …, "forward.sql": …, "reverse.sql": …}
  mapping_digest bytea not null,
  phase text not null default 'CREATING' check (phase in ('CREATING', 'COPYING', 'STREAMING', 'STOPPED', 'DONE')),
  slot text not null,
  publication text not null,
  era integer not null default 1,           -- of versions: a source that failed over, or lost the slot, starts a new one
  source_identity text,                     -- system identifier and timeline of the primary, when the era began
  position pg_lsn,                          -- up to here everything is stored here, durably
  source_position pg_lsn,                   -- end of the source's WAL when it was last asked
  source_at timestamptz,                    -- commit time of the last transaction stored
  seen_at timestamptz,                      -- when the stream was last heard of
  stop_code text,                           -- why it is STOPPED
  stop_detail text,
  rows_estimate bigint,
  columns jsonb,                            -- {table: {column: type's oid}} of what is mapped, as it was when the slot was made
  foreign_changes bigint not null default 0,-- changes at the source while Enishi owns the domain: an alarm, never applied
  foreign_at timestamptz,
  copy_started_at timestamptz,
  copy_finished_at timestamptz,
  most_rows_per_second integer not null default 0,           -- of the copy; 0: no limit
  most_wal_bytes bigint not null default 10737418240,        -- what the slot may hold back at the source before it is given up
  changed_at timestamptz not null default now()
);

-- Progress of a copy: chunks of root keys, [from_key, to_key) in the order of the source; null is open. A crash repeats a chunk.
create table takeover_chunk (
  domain text not null references takeover_domain on delete cascade,
  era integer not null,
  number integer not null,
  from_key text,
  to_key text,
  done_at timestamptz,
  rows integer,
  primary key (domain, era, number)
);
create index takeover_chunk_open on takeover_chunk (domain, era, number) where done_at is null;

-- Every key of a legacy system and the id it has here, once and for ever. (era, snapshot_xmax, less in_progress) orders the versions of a record.
create table legacy_identity (
  system text not null,
  domain text not null,
  legacy_key text not null,
  id uuid not null,
  era integer not null,
  snapshot_xmax bigint not null,
  in_progress integer not null,
  deleted boolean not null default false,
  primary key (system, domain, legacy_key)
);
create index legacy_identity_id on legacy_identity (id);

-- Which root a row of a source table belongs to, for rows whose deletion or change of parent brings only their own key. A stale link costs
-- one fetch too many, so links are only ever added.
create table legacy_link (
  system text not null,
  domain text not null,
  table_name text not null,
  row_key text not null,
  root_key text not null,
  primary key (system, domain, table_name, row_key, root_key)
);

-- Children that were made here and later came back with a key of the legacy system: the id they keep instead of the one made of that key.
create table legacy_child (
  derived uuid primary key,                 -- child_id() of the key they have at the source
  id uuid not null
);

create table takeover_reject (
  id bigint generated always as identity primary key,
  system text not null,
  domain text not null,
  legacy_key text not null,
  state text not null default 'OPEN' check (state in ('OPEN', 'FIXED', 'ACCEPTED')),
  code text not null,
  detail text not null,
  errors jsonb not null default '[]',       -- [{pointer, code, detail}]
  content jsonb,                            -- the record as the source gave it; erasable
  attempts integer not null default 1,
  first_at timestamptz not null default now(),
  last_at timestamptz not null default now(),
  retry_at timestamptz not null default now(),
  decided_by uuid references app_user,
  reason text,
  check (state <> 'ACCEPTED' or reason is not null)
);
create unique index takeover_reject_open on takeover_reject (system, domain, legacy_key) where state <> 'FIXED';
create index takeover_reject_retry on takeover_reject (domain, retry_at) where state = 'OPEN';
insert into erasure_place values ('takeover_reject.content', 'set to null for the rows with the customer''s legacy keys');

-- Edits of records that a legacy system owns: written there, then pulled. After a crash enishi.applied at the source says what happened.
create table takeover_intent (
  id uuid primary key,                      -- the request's key at the source
  system text not null,
  domain text not null,
  record_id uuid not null,
  legacy_key text,                          -- null until the source gave it one
  expected bytea,                           -- digest of the canonical record that the user saw; null: a new one
  record jsonb not null,                    -- the answer, with the record as it is to be
  actor text not null,
  request_id text,
  state text not null default 'PENDING' check (state in ('PENDING', 'APPLIED', 'DONE', 'REFUSED')),
  error jsonb,
  created_at timestamptz not null default now(),
  finished_at timestamptz
);
create index takeover_intent_open on takeover_intent (created_at) where state in ('PENDING', 'APPLIED');
create index takeover_intent_record on takeover_intent (record_id) where state in ('PENDING', 'APPLIED');
insert into erasure_place values ('takeover_intent.record', 'emptied when the intent is done');

-- While Enishi owns: ids that changed here and have to be written back. Read below the xmin horizon in (xid, id) order.
create table takeover_reverse (
  id bigint generated always as identity,
  xid xid8 not null default pg_current_xact_id(),
  domain text not null,
  record_id uuid not null,
  at timestamptz not null default clock_timestamp(),
  primary key (xid, id)
);

-- Comparisons of both sides, and what differs.
create table takeover_diff_run (
  id uuid primary key,
  domain text not null,
  kind text not null check (kind in ('FULL', 'SINCE', 'KEYS')),
  state text not null default 'RUNNING' check (state in ('RUNNING', 'CLEAN', 'DIFFERENT', 'CUT_SHORT')),
  from_position pg_lsn,
  to_position pg_lsn,
  next_chunk integer not null default 0,
  records bigint not null default 0,
  differences bigint not null default 0,
  started_at timestamptz not null default now(),
  finished_at timestamptz
);
create index takeover_diff_run_domain on takeover_diff_run (domain, started_at desc);

create table takeover_difference (
  run_id uuid not null references takeover_diff_run on delete cascade,
  legacy_key text not null,
  record_id uuid,
  pointer text not null,                    -- JSON pointer into the canonical record; '' is the whole record
  here jsonb,
  there jsonb,
  found_at timestamptz not null default now(),
  primary key (run_id, legacy_key, pointer)
);
insert into erasure_place values ('takeover_difference.here, takeover_difference.there', 'rows with the customer''s legacy keys are deleted');

-- Each move of a domain between owners, step by step; the steps carry the names of the model in docs/takeover.
create table takeover_move (
  id uuid primary key,
  domain text not null,
  kind text not null check (kind in ('SWITCH', 'REVERT', 'COMPLETE')),
  step text not null,
  epoch bigint not null,
  state text not null default 'RUNNING' check (state in ('RUNNING', 'DONE', 'ABORTED')),
  detail jsonb not null default '{}',
  actor text not null,
  started_at timestamptz not null default now(),
  held_at timestamptz,                      -- writes held from … to …
  released_at timestamptz,
  finished_at timestamptz
);
create index takeover_move_domain on takeover_move (domain, started_at desc);
create unique index takeover_move_running on takeover_move (domain) where state = 'RUNNING';

-- Two records that may be one person; nothing is merged by itself.
create table merge_candidate (
  id uuid primary key default new_id(),
  customer_a uuid not null references customer,              -- a < b
  customer_b uuid not null references customer,
  reasons text[] not null,                  -- SAME_PHONE_AND_NAME, SAME_PHONE_AND_KANA, SAME_BIRTH_DATE_AND_KANA …
  state text not null default 'OPEN' check (state in ('OPEN', 'MERGED', 'DIFFERENT')),
  created_at timestamptz not null default now(),
  decided_at timestamptz,
  decided_by uuid references app_user,
  check (customer_a < customer_b)
);
create unique index merge_candidate_pair on merge_candidate (customer_a, customer_b);
create index merge_candidate_b on merge_candidate (customer_b);

revoke all on takeover_source from enishi_read;
grant delete on takeover_source, takeover_domain, takeover_chunk, takeover_reverse, takeover_diff_run, takeover_difference, legacy_link to enishi_app;

-- The gate and the mirror -------------------------------------------------------------------------------------------------

-- Whether the running statement is the mirror's: inside a function of the schema's owner that says so. Whoever may write domain_ownership
-- (the application may not) could say so as well, and could do anything else.
create function mirroring() returns boolean language sql stable as $$
  select coalesce(current_setting('enishi.mirror', true), '') = 'on' and has_table_privilege('public.domain_ownership', 'update')
$$;

-- Whom history names for what the mirror stores: the legacy system, unless an edit from here is brought in that a crash cut short.
create function mirror_writer(of_system text) returns text language sql stable as $$
  select coalesce(nullif(current_setting('enishi.through_actor', true), ''), 'legacy:' || of_system)
$$;

-- The same as the condition of a trigger, written out: PostgreSQL parses the stored form of a WHEN anew for each statement, and a function's body
-- with it, which costs 12 µs more for each trigger.
create function when_not_mirroring() returns text language sql immutable as $$
  select $w$(current_setting('enishi.mirror', true) is distinct from 'on' or not has_table_privilege('public.domain_ownership', 'update'))$w$
$$;

-- Takes a table's triggers, the gate apart, off the mirror's writes: versions, history and checks of a batch are written set-based by the
-- apply_… functions, and rules of the business are the legacy system's while it owns.
create function exempt_mirror(target regclass) returns void language plpgsql as $$
declare
  t record;
begin
  for t in select g.tgname, pg_get_triggerdef(g.oid) as def from pg_trigger g where g.tgrelid = target and not g.tgisinternal and g.tgname not like 'a\_gate%' loop
    execute format('drop trigger %I on %s', t.tgname, target);
    execute case when t.def ~ ' WHEN \(' then regexp_replace(t.def, ' WHEN \((.*)\) EXECUTE FUNCTION ', ' WHEN (' || when_not_mirroring() || ' and (\1)) EXECUTE FUNCTION ')
                 else replace(t.def, ' EXECUTE FUNCTION ', ' WHEN (' || when_not_mirroring() || ') EXECUTE FUNCTION ') end;
  end loop;
end $$;
select exempt_mirror(t::regclass) from unnest(array['customer', 'customer_phone', 'customer_address', 'customer_email', 'inquiry', 'inquiry_item', 'goods']) t;

-- Moves a domain, compare-and-set on state and epoch; true when it was this caller. The lock waits for writers in flight.
create function move_domain(moved text, from_state text, from_epoch bigint, to_state text, to_system text default null) returns boolean
language plpgsql security definer set search_path = pg_catalog, public as $$
begin
  perform pg_advisory_xact_lock(1162760521, o.number) from domain_ownership o where o.domain = moved;
  update domain_ownership o set state = to_state, epoch = o.epoch + 1, changed_at = clock_timestamp(),
         system = case when to_state = 'LOCAL' then null else coalesce(to_system, o.system) end
   where o.domain = moved and o.state = from_state and o.epoch = from_epoch;
  return found;
end $$;

-- The id of a child: the root's time, then 60 bits of the child's key, so that children lie beside their root in every index and a copy may
-- be repeated. `suffix` is made by takeover::child_suffix(): '8xxx-xxxxxxxxxxxx'.
create function child_id(root uuid, suffix text) returns uuid language sql immutable parallel safe as $$
  select (left(root::text, 19) || suffix)::uuid
$$;
create function known_child(derived uuid) returns uuid language sql stable as $$
  select coalesce((select l.id from public.legacy_child l where l.derived = known_child.derived), known_child.derived)
$$;

revoke execute on function exempt_mirror(regclass) from enishi_app, enishi_read;
revoke execute on function move_domain(text, text, bigint, text, text) from enishi_read;

-- YYYY-MM-DD, and a day that its month has.
create function is_day(text) returns boolean language sql immutable parallel safe as $$
  select case when $1 ~ '^(?!0000)[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$'
              then substr($1, 9, 2)::integer <= extract(day from make_date(substr($1, 1, 4)::integer, substr($1, 6, 2)::integer, 1) + interval '1 month - 1 day')
              else false end
$$;

-- What custom fields say of an object: [{pointer, code, detail}], or null when it fits. check_custom() asks row by row, the mirror for a batch.
create function custom_errors(wanted text, custom jsonb) returns jsonb language sql stable as $$
  select jsonb_agg(jsonb_build_object('pointer', '/custom/' || coalesce(f.key, c.key), 'code',
           case when f.key is null then 'UNKNOWN_FIELD' when c.key is null then 'REQUIRED' else 'TYPE' end,
           'detail', case when f.key is null then 'no such custom field' when c.key is null then 'required' else 'not a value of kind ' || f.kind end))
    from (select x.key, x.kind, x.required, x.choices from public.custom_field x where x.entity = wanted and x.deleted_at is null) f
    full join jsonb_each(custom) c on c.key = f.key
   where f.key is null or (c.key is null and f.required) or (c.key is not null and not case f.kind
           when 'TEXT' then jsonb_typeof(c.value) = 'string' and length(c.value #>> '{}') <= 2000
           when 'INTEGER' then jsonb_typeof(c.value) = 'number' and (c.value #>> '{}') ~ '^-?[0-9]{1,18}$'
           when 'BOOLEAN' then jsonb_typeof(c.value) = 'boolean'
           when 'DATE' then jsonb_typeof(c.value) = 'string' and is_day(c.value #>> '{}')
           when 'CHOICE' then jsonb_typeof(c.value) = 'string' and (c.value #>> '{}') = any (f.choices)
         end)
$$;

create function mirror_customs(wanted text, customs text[]) returns void language plpgsql as $$
declare
  wrong jsonb;
begin
  if not exists (select from unnest(customs) c where c <> '{}')
     and not exists (select from custom_field f where f.entity = wanted and f.required and f.deleted_at is null) then return; end if;
  select e into wrong from unnest(customs) c, custom_errors(wanted, c::jsonb) e where e is not null limit 1;
  if wrong is not null then
    perform refuse('422', 'CUSTOM_FIELDS', 'Custom fields do not fit their definitions.', jsonb_build_object('errors', wrong));
  end if;
end $$;

-- First step of every apply_…: which keys may be written (not older than what is stored), and their ids. Takes the locks, in the order of the keys.
create function mirror_identities(of_system text, of_domain text, of_era integer, of_xmax bigint, of_in_progress integer, keys text[], inout ids uuid[],
                                  out accepted boolean[], out all_new boolean) language plpgsql as $$
#variable_conflict use_column
declare
  made bigint;
begin
  with fresh as (
    insert into legacy_identity (system, domain, legacy_key, id, era, snapshot_xmax, in_progress)
    select of_system, of_domain, k.key, k.id, of_era, of_xmax, of_in_progress from unnest(keys, ids) k(key, id)
    on conflict do nothing returning 1)
  select count(*) into made from fresh;
  all_new := made = cardinality(keys);
  if all_new then
    accepted := array_fill(true, array[cardinality(keys)]);
    return;
  end if;
  update legacy_identity i set era = of_era, snapshot_xmax = of_xmax, in_progress = of_in_progress, deleted = false
    from unnest(keys) k(key)
   where i.system = of_system and i.domain = of_domain and i.legacy_key = k.key
     and (i.era, i.snapshot_xmax, -i.in_progress) < (of_era, of_xmax, -of_in_progress);
  select array_agg(i.id order by k.n), array_agg((i.era, i.snapshot_xmax, i.in_progress) = (of_era, of_xmax, of_in_progress) and not i.deleted order by k.n) into ids, accepted
    from unnest(keys) with ordinality k(key, n)
    join legacy_identity i on i.system = of_system and i.domain = of_domain and i.legacy_key = k.key;
end $$;

-- Keys that are not at the source any more. The tombstone stays, so that a slower fetch from before does not bring the record back.
create function mirror_absent(of_system text, of_domain text, of_era integer, of_xmax bigint, of_in_progress integer, keys text[]) returns uuid[] language plpgsql as $$
#variable_conflict use_column
declare
  gone uuid[];
begin
  with marked as (
    insert into legacy_identity as i (system, domain, legacy_key, id, era, snapshot_xmax, in_progress, deleted)
    select of_system, of_domain, k.key, new_id(), of_era, of_xmax, of_in_progress, true from unnest(keys) k(key) order by k.key
    on conflict (system, domain, legacy_key) do update set era = excluded.era, snapshot_xmax = excluded.snapshot_xmax, in_progress = excluded.in_progress, deleted = true
     where (i.era, i.snapshot_xmax, -i.in_progress) < (excluded.era, excluded.snapshot_xmax, -excluded.in_progress)
    returning i.id)
  select coalesce(array_agg(id), '{}') into gone from marked;
  return gone;
end $$;

-- Customers -----------------------------------------------------------------------------------------------------------------

create function apply_customers(
  of_system text, of_era integer, of_xmax bigint, of_in_progress integer,
  keys text[], ids uuid[], display_names text[], kanas text[], name_keys text[], kana_keys text[], birth_dates date[], notes text[], flags text[], customs text[],
  deleteds boolean[],
  phone_roots integer[], phone_suffixes text[], phone_raws text[], phone_e164s text[], phone_extensions text[], phone_kinds text[], phone_valids boolean[],
  phone_notes text[], phone_positions integer[],
  address_roots integer[], address_suffixes text[], postal_codes text[], prefectures text[], cities text[], towns text[], streets text[], buildings text[],
  address_notes text[], address_positions integer[],
  email_roots integer[], email_suffixes text[], emails text[], email_positions integer[],
  absent text[], out created bigint, out updated bigint, out deleted bigint, out stale bigint)
language plpgsql security definer set search_path = pg_catalog, public as $$
#variable_conflict use_variable
declare
  writer constant text := mirror_writer(of_system);
  quiet constant boolean := cardinality(keys) >= 100;  -- a copy is no event
  accepted boolean[];
  all_new boolean;
  roots uuid[];
  gone uuid[];
  adopted constant boolean := exists (select from legacy_child);
begin
  perform set_config('enishi.mirror', 'on', true);
  created := 0; updated := 0; deleted := 0; stale := 0;
  if cardinality(keys) > 0 then
    select m.ids, m.accepted, m.all_new into ids, accepted, all_new
      from mirror_identities(of_system, 'customer', of_era, of_xmax, of_in_progress, keys, ids) m;
    perform mirror_customs('customer', customs);
    stale := (select count(*) from unnest(accepted) a where not a);

    with made as (
      insert into customer (id, display_name, kana, name_key, kana_key, birth_date, notes, flags, custom, deleted_at)
      select ids[r.n], r.display_name, r.kana, r.name_key, r.kana_key, r.birth_date, r.notes, r.flags::text[], r.custom::jsonb, case when r.deleted then now() end
        from unnest(display_names, kanas, name_keys, kana_keys, birth_dates, notes, flags, customs, deleteds)
             with ordinality r(display_name, kana, name_key, kana_key, birth_date, notes, flags, custom, deleted, n)
       where accepted[r.n] and (all_new or not exists (select from customer x where x.id = ids[r.n]))
      returning id, to_jsonb(customer) as content),
    noted as (
      insert into history (table_name, row_id, customer_id, op, entity, actor, content)
      select 'customer', m.id, m.id, 'INSERT', case when not quiet then 'customer' end, writer, m.content from made m)
    select count(*) into created from made;

    if not all_new then
      with done as (
        update customer c set display_name = r.display_name, kana = r.kana, name_key = r.name_key, kana_key = r.kana_key, birth_date = r.birth_date, notes = r.notes,
               flags = r.flags::text[], custom = r.custom::jsonb, deleted_at = case when r.deleted then coalesce(c.deleted_at, now()) end,
               version = c.version + 1, updated_at = now()
          from unnest(display_names, kanas, name_keys, kana_keys, birth_dates, notes, flags, customs, deleteds)
               with ordinality r(display_name, kana, name_key, kana_key, birth_date, notes, flags, custom, deleted, n)
         where c.id = ids[r.n] and accepted[r.n]
           and (c.display_name, c.kana, c.name_key, c.kana_key, c.birth_date, c.notes, c.flags, c.custom, c.deleted_at is not null)
               is distinct from (r.display_name, r.kana, r.name_key, r.kana_key, r.birth_date, r.notes, r.flags::text[], r.custom::jsonb, r.deleted)
        returning c.id, to_jsonb(c) as content),
      noted as (
        insert into history (table_name, row_id, customer_id, op, entity, actor, content)
        select 'customer', d.id, d.id, 'UPDATE', 'customer', writer, d.content from done d)
      select count(*) into updated from done;
      roots := array(select ids[a.n] from unnest(accepted) with ordinality a(yes, n) where a.yes);
    end if;

    -- Children: those of the record, and those that are not in it any more.
    with given as materialized (
      select case when adopted then known_child(child_id(ids[r.root], r.suffix)) else child_id(ids[r.root], r.suffix) end as id, ids[r.root] as customer_id, r.raw, r.e164, r.extension, r.kind, r.valid, r.note, r.position
        from unnest(phone_roots, phone_suffixes, phone_raws, phone_e164s, phone_extensions, phone_kinds, phone_valids, phone_notes, phone_positions)
             r(root, suffix, raw, e164, extension, kind, valid, note, position) where accepted[r.root]),
    made as (
      insert into customer_phone (id, customer_id, raw, e164, extension, kind, valid_hint, note, position)
      select g.id, g.customer_id, g.raw, g.e164, g.extension, g.kind, g.valid, g.note, g.position from given g
       where all_new or not exists (select from customer_phone x where x.id = g.id)
      returning id, customer_id, to_jsonb(customer_phone) as content),
    done as (
      update customer_phone p set raw = g.raw, e164 = g.e164, extension = g.extension, kind = g.kind, valid_hint = g.valid, note = g.note, position = g.position,
             deleted_at = null, version = p.version + 1, updated_at = now()
        from given g where not all_new and p.id = g.id
         and (p.raw, p.e164, p.extension, p.kind, p.valid_hint, p.note, p.position, p.deleted_at is null)
             is distinct from (g.raw, g.e164, g.extension, g.kind, g.valid, g.note, g.position, true)
      returning p.id, p.customer_id, to_jsonb(p) as content),
    hidden as (
      update customer_phone p set deleted_at = now(), version = p.version + 1, updated_at = now()
        where not all_new and p.customer_id = any (roots) and p.deleted_at is null
         and not exists (select from given g where g.id = p.id)
      returning p.id, p.customer_id, to_jsonb(p) as content)
    insert into history (table_name, row_id, customer_id, op, entity, actor, content)
    select 'customer_phone', x.id, x.customer_id, x.op, case when not quiet then 'customer_phone' end, writer, x.content
      from (select id, customer_id, 'INSERT' as op, content from made union all select id, customer_id, 'UPDATE', content from done
            union all select id, customer_id, 'UPDATE', content from hidden) x;

    with given as materialized (
      select case when adopted then known_child(child_id(ids[r.root], r.suffix)) else child_id(ids[r.root], r.suffix) end as id, ids[r.root] as customer_id, r.postal_code, r.prefecture, r.city, r.town, r.street, r.building, r.note, r.position
        from unnest(address_roots, address_suffixes, postal_codes, prefectures, cities, towns, streets, buildings, address_notes, address_positions)
             r(root, suffix, postal_code, prefecture, city, town, street, building, note, position) where accepted[r.root]),
    made as (
      insert into customer_address (id, customer_id, postal_code, prefecture, city, town, street, building, note, position)
      select g.id, g.customer_id, g.postal_code, g.prefecture, g.city, g.town, g.street, g.building, g.note, g.position from given g
       where all_new or not exists (select from customer_address x where x.id = g.id)
      returning id, customer_id, to_jsonb(customer_address) as content),
    done as (
      update customer_address p set postal_code = g.postal_code, prefecture = g.prefecture, city = g.city, town = g.town, street = g.street, building = g.building, note = g.note,
             position = g.position, deleted_at = null, version = p.version + 1, updated_at = now()
        from given g where not all_new and p.id = g.id
         and (p.postal_code, p.prefecture, p.city, p.town, p.street, p.building, p.note, p.position, p.deleted_at is null)
             is distinct from (g.postal_code, g.prefecture, g.city, g.town, g.street, g.building, g.note, g.position, true)
      returning p.id, p.customer_id, to_jsonb(p) as content),
    hidden as (
      update customer_address p set deleted_at = now(), version = p.version + 1, updated_at = now()
        where not all_new and p.customer_id = any (roots) and p.deleted_at is null
         and not exists (select from given g where g.id = p.id)
      returning p.id, p.customer_id, to_jsonb(p) as content)
    insert into history (table_name, row_id, customer_id, op, entity, actor, content)
    select 'customer_address', x.id, x.customer_id, x.op, case when not quiet then 'customer_address' end, writer, x.content
      from (select id, customer_id, 'INSERT' as op, content from made union all select id, customer_id, 'UPDATE', content from done
            union all select id, customer_id, 'UPDATE', content from hidden) x;

    if cardinality(email_roots) > 0 or not all_new then
      with given as materialized (
        select case when adopted then known_child(child_id(ids[r.root], r.suffix)) else child_id(ids[r.root], r.suffix) end as id, ids[r.root] as customer_id, r.email, r.position
          from unnest(email_roots, email_suffixes, emails, email_positions) r(root, suffix, email, position) where accepted[r.root]),
      made as (
        insert into customer_email (id, customer_id, email, position)
        select g.id, g.customer_id, g.email, g.position from given g where all_new or not exists (select from customer_email x where x.id = g.id)
        returning id, customer_id, to_jsonb(customer_email) as content),
      done as (
        update customer_email p set email = g.email, position = g.position, deleted_at = null, version = p.version + 1, updated_at = now()
          from given g where not all_new and p.id = g.id
           and (p.email, p.position, p.deleted_at is null) is distinct from (g.email, g.position, true)
        returning p.id, p.customer_id, to_jsonb(p) as content),
      hidden as (
        update customer_email p set deleted_at = now(), version = p.version + 1, updated_at = now()
          where not all_new and p.customer_id = any (roots) and p.deleted_at is null
           and not exists (select from given g where g.id = p.id)
        returning p.id, p.customer_id, to_jsonb(p) as content)
      insert into history (table_name, row_id, customer_id, op, entity, actor, content)
      select 'customer_email', x.id, x.customer_id, x.op, case when not quiet then 'customer_email' end, writer, x.content
        from (select id, customer_id, 'INSERT' as op, content from made union all select id, customer_id, 'UPDATE', content from done
              union all select id, customer_id, 'UPDATE', content from hidden) x;
    end if;
  end if;

  if cardinality(absent) > 0 then
    gone := mirror_absent(of_system, 'customer', of_era, of_xmax, of_in_progress, absent);
    with done as (
      update customer c set deleted_at = now(), version = c.version + 1, updated_at = now()
       where c.id = any (gone) and c.deleted_at is null returning c.id, to_jsonb(c) as content),
    noted as (
      insert into history (table_name, row_id, customer_id, op, entity, actor, content)
      select 'customer', d.id, d.id, 'UPDATE', 'customer', writer, d.content from done d)
    select count(*) into deleted from done;
  end if;
  perform set_config('enishi.mirror', '', true);
end $$;

-- The canonical form of a record as Enishi has it (docs/takeover/mapping.md); null when there is none. takeover::canonical_sql() is the same at the source.
create function canonical_customer(wanted uuid) returns jsonb language sql stable as $$
  select jsonb_build_object('display_name', c.display_name, 'kana', c.kana, 'birth_date', c.birth_date, 'notes', c.notes, 'flags', c.flags, 'custom', c.custom,
           'deleted', c.deleted_at is not null,
           'phones', (select coalesce(jsonb_agg(jsonb_build_object('raw', p.raw, 'note', p.note) order by p.position, p.id), '[]')
                        from public.customer_phone p where p.customer_id = c.id and p.deleted_at is null),
           'addresses', (select coalesce(jsonb_agg(jsonb_build_object('postal_code', a.postal_code, 'prefecture', a.prefecture, 'city', a.city, 'town', a.town,
                                  'street', a.street, 'building', a.building, 'note', a.note) order by a.position, a.id), '[]')
                           from public.customer_address a where a.customer_id = c.id and a.deleted_at is null),
           'emails', (select coalesce(jsonb_agg(jsonb_build_object('email', e.email) order by e.position, e.id), '[]')
                        from public.customer_email e where e.customer_id = c.id and e.deleted_at is null))
    from public.customer c where c.id = wanted
$$;

-- Inquiries -----------------------------------------------------------------------------------------------------------------

-- Ids of legacy keys (null stays null), of hidden records too: what hangs on somebody who was deleted there stays theirs. A key that is not known refuses the batch, which is then halved until the records are found.
create function mirror_references(of_domain text, pointer text, systems text[], keys text[]) returns uuid[] language plpgsql as $$
#variable_conflict use_column
declare
  found_ids uuid[];
  missing text;
begin
  select array_agg(i.id order by k.n), min(k.system || ' ' || k.key) filter (where k.key is not null and i.id is null) into found_ids, missing
    from unnest(systems, keys) with ordinality k(system, key, n)
    left join legacy_identity i on i.system = k.system and i.domain = of_domain and i.legacy_key = k.key
         and (not i.deleted or exists (select from customer c where c.id = i.id) or exists (select from inquiry q where q.id = i.id));
  if missing is not null then
    perform refuse('422', 'REFERENCE_MISSING', format('There is no %s with the key %s here yet.', of_domain, missing),
      jsonb_build_object('errors', jsonb_build_array(jsonb_build_object('pointer', pointer, 'code', 'REFERENCE_MISSING', 'detail', missing))));
  end if;
  return coalesce(found_ids, '{}');
end $$;

-- Ids of codes of a master table; the same refusal.
create function mirror_codes(master regclass, pointer text, codes text[]) returns uuid[] language plpgsql as $$
declare
  found_ids uuid[];
  missing text;
begin
  execute format('select array_agg(m.id order by k.n), min(k.code) filter (where k.code is not null and m.id is null)
                    from unnest($1) with ordinality k(code, n) left join %s m on m.code = k.code and m.deleted_at is null', master) into found_ids, missing using codes;
  if missing is not null then
    perform public.refuse('422', 'REFERENCE_MISSING', format('There is no %s with the code %s.', master, missing),
      jsonb_build_object('errors', jsonb_build_array(jsonb_build_object('pointer', pointer, 'code', 'REFERENCE_MISSING', 'detail', missing))));
  end if;
  return coalesce(found_ids, '{}');
end $$;

create function apply_inquiries(
  of_system text, of_era integer, of_xmax bigint, of_in_progress integer,
  keys text[], ids uuid[], customer_systems text[], customers text[], media_sources text[], channels text[], initiateds boolean[], external_refs text[],
  received_ats timestamptz[], stages text[], lost_reasons text[], invalid_reasons text[], next_actions text[], next_action_ats timestamptz[], notes text[],
  customs text[], deleteds boolean[],
  item_roots integer[], item_suffixes text[], item_categories text[], item_descriptions text[], item_quantities integer[], item_positions integer[],
  absent text[], out created bigint, out updated bigint, out deleted bigint, out stale bigint)
language plpgsql security definer set search_path = pg_catalog, public as $$
#variable_conflict use_variable
declare
  writer constant text := mirror_writer(of_system);
  quiet constant boolean := cardinality(keys) >= 100;  -- a copy is no event
  accepted boolean[];
  all_new boolean;
  customer_ids uuid[];
  media_ids uuid[];
  category_ids uuid[];
  roots uuid[];
  gone uuid[];
  adopted constant boolean := exists (select from legacy_child);
begin
  perform set_config('enishi.mirror', 'on', true);
  created := 0; updated := 0; deleted := 0; stale := 0;
  if cardinality(keys) > 0 then
    select m.ids, m.accepted, m.all_new into ids, accepted, all_new
      from mirror_identities(of_system, 'inquiry', of_era, of_xmax, of_in_progress, keys, ids) m;
    perform mirror_customs('inquiry', customs);
    customer_ids := mirror_references('customer', '/customer', customer_systems, customers);
    media_ids := mirror_codes('media_source', '/media_source', media_sources);
    category_ids := mirror_codes('item_category', '/items', item_categories);
    stale := (select count(*) from unnest(accepted) a where not a);

    with made as (
      insert into inquiry (id, customer_id, media_source_id, channel, customer_initiated, external_ref, received_at, stage, lost_reason, invalid_reason, next_action,
                           next_action_at, notes, custom, deleted_at)
      select ids[r.n], customer_ids[r.n], media_ids[r.n], r.channel, r.initiated, r.external_ref, r.received_at, r.stage, r.lost_reason, r.invalid_reason, r.next_action,
             r.next_action_at, r.notes, r.custom::jsonb, case when r.deleted then now() end
        from unnest(channels, initiateds, external_refs, received_ats, stages, lost_reasons, invalid_reasons, next_actions, next_action_ats, notes, customs, deleteds)
             with ordinality r(channel, initiated, external_ref, received_at, stage, lost_reason, invalid_reason, next_action, next_action_at, notes, custom, deleted, n)
       where accepted[r.n] and (all_new or not exists (select from inquiry x where x.id = ids[r.n]))
      returning id, customer_id, to_jsonb(inquiry) as content),
    noted as (
      insert into history (table_name, row_id, customer_id, op, entity, actor, content)
      select 'inquiry', m.id, m.customer_id, 'INSERT', case when not quiet then 'inquiry' end, writer, m.content from made m)
    select count(*) into created from made;

    if not all_new then
      with done as (
        update inquiry c set customer_id = customer_ids[r.n], media_source_id = media_ids[r.n], channel = r.channel, customer_initiated = r.initiated,
               external_ref = r.external_ref, received_at = r.received_at, stage = r.stage, lost_reason = r.lost_reason, invalid_reason = r.invalid_reason,
               next_action = r.next_action, next_action_at = r.next_action_at, notes = r.notes, custom = r.custom::jsonb,
               deleted_at = case when r.deleted then coalesce(c.deleted_at, now()) end, version = c.version + 1, updated_at = now()
          from unnest(channels, initiateds, external_refs, received_ats, stages, lost_reasons, invalid_reasons, next_actions, next_action_ats, notes, customs, deleteds)
               with ordinality r(channel, initiated, external_ref, received_at, stage, lost_reason, invalid_reason, next_action, next_action_at, notes, custom, deleted, n)
         where c.id = ids[r.n] and accepted[r.n]
           and (c.customer_id, c.media_source_id, c.channel, c.customer_initiated, c.external_ref, c.received_at, c.stage, c.lost_reason, c.invalid_reason, c.next_action,
                c.next_action_at, c.notes, c.custom, c.deleted_at is not null)
               is distinct from (customer_ids[r.n], media_ids[r.n], r.channel, r.initiated, r.external_ref, r.received_at, r.stage, r.lost_reason, r.invalid_reason,
                r.next_action, r.next_action_at, r.notes, r.custom::jsonb, r.deleted)
        returning c.id, c.customer_id, to_jsonb(c) as content),
      noted as (
        insert into history (table_name, row_id, customer_id, op, entity, actor, content)
        select 'inquiry', d.id, d.customer_id, 'UPDATE', 'inquiry', writer, d.content from done d)
      select count(*) into updated from done;
      roots := array(select ids[a.n] from unnest(accepted) with ordinality a(yes, n) where a.yes);
    end if;

    if cardinality(item_roots) > 0 or not all_new then
      with given as materialized (
        select case when adopted then known_child(child_id(ids[r.root], r.suffix)) else child_id(ids[r.root], r.suffix) end as id, ids[r.root] as inquiry_id, customer_ids[r.root] as customer_id, category_ids[r.n] as category, r.description, r.quantity, r.position
          from unnest(item_roots, item_suffixes, item_descriptions, item_quantities, item_positions) with ordinality r(root, suffix, description, quantity, position, n)
         where accepted[r.root]),
      made as (
        insert into inquiry_item (id, inquiry_id, item_category_id, description, quantity, position)
        select g.id, g.inquiry_id, g.category, g.description, g.quantity, g.position from given g
         where all_new or not exists (select from inquiry_item x where x.id = g.id)
        returning id, to_jsonb(inquiry_item) as content),
      done as (
        update inquiry_item p set item_category_id = g.category, description = g.description, quantity = g.quantity, position = g.position, deleted_at = null,
               version = p.version + 1, updated_at = now()
          from given g where not all_new and p.id = g.id
           and (p.item_category_id, p.description, p.quantity, p.position, p.deleted_at is null) is distinct from (g.category, g.description, g.quantity, g.position, true)
        returning p.id, to_jsonb(p) as content),
      hidden as (
        update inquiry_item p set deleted_at = now(), version = p.version + 1, updated_at = now()
          where not all_new and p.inquiry_id = any (roots) and p.deleted_at is null
           and not exists (select from given g where g.id = p.id)
        returning p.id, to_jsonb(p) as content)
      insert into history (table_name, row_id, op, actor, content)
      select 'inquiry_item', x.id, x.op, writer, x.content
        from (select id, 'INSERT' as op, content from made union all select id, 'UPDATE', content from done union all select id, 'UPDATE', content from hidden) x;
    end if;
  end if;

  if cardinality(absent) > 0 then
    gone := mirror_absent(of_system, 'inquiry', of_era, of_xmax, of_in_progress, absent);
    with done as (
      update inquiry c set deleted_at = now(), version = c.version + 1, updated_at = now()
       where c.id = any (gone) and c.deleted_at is null returning c.id, c.customer_id, to_jsonb(c) as content),
    noted as (
      insert into history (table_name, row_id, customer_id, op, entity, actor, content)
      select 'inquiry', d.id, d.customer_id, 'UPDATE', 'inquiry', writer, d.content from done d)
    select count(*) into deleted from done;
  end if;
  perform set_config('enishi.mirror', '', true);
end $$;

-- The legacy key of an id, for references inside canonical records: keys of `of_system`, the newest where there are several.
create function legacy_key_of(of_system text, of_domain text, wanted uuid) returns text language sql stable as $$
  select i.legacy_key from public.legacy_identity i where i.id = wanted and i.system = of_system and i.domain = of_domain order by i.deleted, i.snapshot_xmax desc limit 1
$$;

create function utc_text(at timestamptz) returns text language sql stable as $$
  select to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
$$;

create function canonical_inquiry(of_system text, wanted uuid) returns jsonb language sql stable as $$
  select jsonb_build_object('customer', k.legacy_key, 'customer_system', k.system,
           'media_source', m.code, 'channel', i.channel, 'customer_initiated', i.customer_initiated, 'external_ref', i.external_ref,
           'received_at', public.utc_text(i.received_at), 'stage', i.stage, 'lost_reason', i.lost_reason, 'invalid_reason', i.invalid_reason,
           'next_action', i.next_action, 'next_action_at', public.utc_text(i.next_action_at), 'notes', i.notes, 'custom', i.custom,
           'deleted', i.deleted_at is not null,
           'items', (select coalesce(jsonb_agg(jsonb_build_object('category', g.code, 'description', n.description, 'quantity', n.quantity) order by n.position, n.id), '[]')
                       from public.inquiry_item n join public.item_category g on g.id = n.item_category_id where n.inquiry_id = i.id and n.deleted_at is null))
    from public.inquiry i join public.media_source m on m.id = i.media_source_id
    left join lateral (select x.system, x.legacy_key from public.legacy_identity x where x.id = i.customer_id and x.domain = 'customer'
                        order by x.system <> of_system, x.deleted, x.snapshot_xmax desc limit 1) k on true
   where i.id = wanted
$$;

-- Goods ---------------------------------------------------------------------------------------------------------------------

create function apply_goods(
  of_system text, of_era integer, of_xmax bigint, of_in_progress integer,
  keys text[], ids uuid[], names text[], descriptions text[], categories text[], customer_systems text[], customers text[], inquiry_systems text[], inquiries text[],
  states text[], prices bigint[], received_ons date[], customs text[], deleteds boolean[],
  absent text[], out created bigint, out updated bigint, out deleted bigint, out stale bigint)
language plpgsql security definer set search_path = pg_catalog, public as $$
#variable_conflict use_variable
declare
  writer constant text := mirror_writer(of_system);
  quiet constant boolean := cardinality(keys) >= 100;  -- a copy is no event
  accepted boolean[];
  all_new boolean;
  customer_ids uuid[];
  inquiry_ids uuid[];
  category_ids uuid[];
  gone uuid[];
begin
  perform set_config('enishi.mirror', 'on', true);
  created := 0; updated := 0; deleted := 0; stale := 0;
  if cardinality(keys) > 0 then
    select m.ids, m.accepted, m.all_new into ids, accepted, all_new
      from mirror_identities(of_system, 'goods', of_era, of_xmax, of_in_progress, keys, ids) m;
    customer_ids := mirror_references('customer', '/customer', customer_systems, customers);
    inquiry_ids := mirror_references('inquiry', '/inquiry', inquiry_systems, inquiries);
    category_ids := mirror_codes('item_category', '/category', categories);
    stale := (select count(*) from unnest(accepted) a where not a);

    with given as materialized (
      select ids[r.n] as id, customer_ids[r.n] as customer_id, inquiry_ids[r.n] as inquiry_id, category_ids[r.n] as category, r.name, r.description, r.state, r.price,
             r.received_on, r.custom::jsonb as custom, r.deleted
        from unnest(names, descriptions, states, prices, received_ons, customs, deleteds)
             with ordinality r(name, description, state, price, received_on, custom, deleted, n) where accepted[r.n]),
    made as (
      insert into goods (id, customer_id, inquiry_id, item_category_id, name, description, state, price_yen, received_on, custom, deleted_at)
      select g.id, g.customer_id, g.inquiry_id, g.category, g.name, g.description, g.state, g.price, g.received_on, g.custom, case when g.deleted then now() end
        from given g where all_new or not exists (select from goods x where x.id = g.id)
      returning id, customer_id, to_jsonb(goods) as content),
    done as (
      update goods c set customer_id = g.customer_id, inquiry_id = g.inquiry_id, item_category_id = g.category, name = g.name, description = g.description, state = g.state,
             price_yen = g.price, received_on = g.received_on, custom = g.custom, deleted_at = case when g.deleted then coalesce(c.deleted_at, now()) end,
             version = c.version + 1, updated_at = now()
        from given g where not all_new and c.id = g.id
         and (c.customer_id, c.inquiry_id, c.item_category_id, c.name, c.description, c.state, c.price_yen, c.received_on, c.custom, c.deleted_at is not null)
             is distinct from (g.customer_id, g.inquiry_id, g.category, g.name, g.description, g.state, g.price, g.received_on, g.custom, g.deleted)
      returning c.id, c.customer_id, to_jsonb(c) as content),
    noted as (
      insert into history (table_name, row_id, customer_id, op, entity, actor, content)
      select 'goods', x.id, x.customer_id, x.op, case when not quiet then 'goods' end, writer, x.content
        from (select id, customer_id, 'INSERT' as op, content from made union all select id, customer_id, 'UPDATE', content from done) x)
    select (select count(*) from made), (select count(*) from done) into created, updated;
  end if;

  if cardinality(absent) > 0 then
    gone := mirror_absent(of_system, 'goods', of_era, of_xmax, of_in_progress, absent);
    with done as (
      update goods c set deleted_at = now(), version = c.version + 1, updated_at = now()
       where c.id = any (gone) and c.deleted_at is null returning c.id, c.customer_id, to_jsonb(c) as content),
    noted as (
      insert into history (table_name, row_id, customer_id, op, entity, actor, content)
      select 'goods', d.id, d.customer_id, 'UPDATE', 'goods', writer, d.content from done d)
    select count(*) into deleted from done;
  end if;
  perform set_config('enishi.mirror', '', true);
end $$;

create function canonical_goods(of_system text, wanted uuid) returns jsonb language sql stable as $$
  select jsonb_build_object('name', g.name, 'description', g.description, 'category', t.code, 'customer', k.legacy_key, 'customer_system', k.system,
           'inquiry', q.legacy_key, 'inquiry_system', q.system, 'state', g.state, 'price_yen', g.price_yen, 'received_on', g.received_on, 'custom', g.custom,
           'deleted', g.deleted_at is not null)
    from public.goods g left join public.item_category t on t.id = g.item_category_id
    left join lateral (select x.system, x.legacy_key from public.legacy_identity x where x.id = g.customer_id and x.domain = 'customer'
                        order by x.system <> of_system, x.deleted, x.snapshot_xmax desc limit 1) k on true
    left join lateral (select x.system, x.legacy_key from public.legacy_identity x where x.id = g.inquiry_id and x.domain = 'inquiry'
                        order by x.system <> of_system, x.deleted, x.snapshot_xmax desc limit 1) q on true
   where g.id = wanted
$$;

-- All domains; `of_system` is the one whose keys references are written in, where it has them.
create function canonical_record(of_domain text, of_system text, wanted uuid) returns jsonb language plpgsql stable as $$
begin
  return case of_domain when 'customer' then public.canonical_customer(wanted) when 'inquiry' then public.canonical_inquiry(of_system, wanted)
                        when 'goods' then public.canonical_goods(of_system, wanted) end;
end $$;

create function canonical_digest(record jsonb) returns bytea language sql immutable parallel safe as $$
  select sha256(convert_to(record::text, 'UTF8'))
$$;

revoke execute on function mirror_identities(text, text, integer, bigint, integer, text[], uuid[]), mirror_absent(text, text, integer, bigint, integer, text[]) from enishi_app, enishi_read;
revoke execute on function apply_customers, apply_inquiries, apply_goods from enishi_read;
