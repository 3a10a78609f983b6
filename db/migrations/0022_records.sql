-- Records that come back: history sealed as a chain of digests, lists as of a moment, what somebody changed put back, a person erased by law.

-- Sealing ---------------------------------------------------------------------------------------------------------------

-- A seal covers the history rows after the seal before it, in the order of (xid, id), up to its own last row. digest = sha256(previous digest ||
-- digest of each row); the marks, the first 8 bytes of each row's digest, only name what differs. History itself is never written by sealing.
create table history_seal (
  number bigint primary key,
  last_xid xid8 not null,
  last_id bigint not null,
  ids bigint[] not null,
  marks bytea not null,
  digest bytea not null,
  sealed_at timestamptz not null default clock_timestamp()
);
revoke insert, update on history_seal from enishi_app;

-- A row as the chain sees it: everything but content and salt, which stand by their digest, so that erasing them leaves it as it was. The text of a
-- row tells null from empty and quotes what it has to; the moment is a number, which no time zone changes.
create function history_row_digest(h history) returns bytea language sql stable as $$
  select sha256(case when h.content is null then coalesce(h.digest, '') else sha256(uuid_send(h.salt) || convert_to(h.content::text, 'UTF8')) end
    || convert_to(row(h.xid, h.id, (extract(epoch from h.at) * 1000000)::bigint, h.table_name, h.row_id, h.customer_id, h.op, h.entity, h.actor, h.request_id)::text, 'UTF8'))
$$;

-- Seals the next rows, at most `most`; how many. One sealer at a time; rows of transactions that still run, and all after them, wait for the next time.
-- No sort: after a bulk load, whose rows share one xid, PostgreSQL takes what is left for a few rows, and would read and sort all of it each time.
create function seal_history(most integer default 2000) returns integer language plpgsql security definer set search_path = pg_catalog, public set enable_sort = off as $$
declare
  before history_seal%rowtype;
  count integer;
begin
  if not pg_try_advisory_xact_lock(1162760521, 200) then return 0; end if;
  select s.number, s.last_xid, s.last_id, null, null, s.digest into before from history_seal s order by s.number desc limit 1;
  with batch as materialized (
    select h.xid, h.id, history_row_digest(h) as leaf from history h
     where h.xid < pg_snapshot_xmin(pg_current_snapshot()) and (h.xid, h.id) > (coalesce(before.last_xid, '0'::xid8), coalesce(before.last_id, 0))
     order by h.xid, h.id limit most)
  insert into history_seal (number, last_xid, last_id, ids, marks, digest)
  select coalesce(before.number, 0) + 1, (array_agg(b.xid order by b.xid desc, b.id desc))[1], (array_agg(b.id order by b.xid desc, b.id desc))[1],
         array_agg(b.id order by b.xid, b.id), string_agg(substr(b.leaf, 1, 8), ''::bytea order by b.xid, b.id),
         sha256(coalesce(before.digest, '') || string_agg(b.leaf, ''::bytea order by b.xid, b.id))
    from batch b having count(*) > 0
  returning cardinality(ids) into count;
  return coalesce(count, 0);
end $$;

-- Erasure -----------------------------------------------------------------------------------------------------------------

-- The proof that a person's content is gone, and how many of it stood where. No content, so that it stays for ever.
-- MASKED: the law wants it kept; nobody but compliance sees it, and it is erased when `until` has passed.
create table erasure (
  id uuid primary key,
  customer_id uuid not null,
  kind text not null check (kind in ('ERASED', 'MASKED')),
  reason text not null check (length(reason) between 1 and 500),
  until date,
  places jsonb not null default '{}',
  actor text not null,
  request_id text,
  at timestamptz not null default clock_timestamp()
);
create unique index erasure_customer on erasure (customer_id, kind);
revoke insert, update on erasure from enishi_app;

-- What is wrong with one seal, a line a row of history: CHANGED, REMOVED, INSERTED, REORDERED, ERASED_WITHOUT_PROOF; SEAL_BROKEN when the seal itself
-- is not what was written.
create function history_seal_problems(wanted bigint) returns table (problem text, id bigint, at timestamptz, table_name text, row_id uuid, actor text)
language sql stable as $$
  with seal as (
    select s.last_xid, s.last_id, s.ids, s.marks, s.digest, coalesce(p.digest, '') as previous, coalesce(p.last_xid, '0'::xid8) as from_xid, coalesce(p.last_id, 0) as from_id
      from history_seal s left join history_seal p on p.number = s.number - 1 where s.number = wanted),
  present as materialized (
    select h.id, h.xid, h.at, h.table_name, h.row_id, h.actor, h.customer_id, h.content is null as erased, history_row_digest(h) as leaf,
           row_number() over (partition by h.id order by h.xid) as copy
      from history h, seal s where (h.xid, h.id) > (s.from_xid, s.from_id) and (h.xid, h.id) <= (s.last_xid, s.last_id)),
  sealed as materialized (
    select u.id, u.n, substr(s.marks, (u.n::integer - 1) * 8 + 1, 8) as mark from seal s, unnest(s.ids) with ordinality u(id, n)),
  compared as (
    select coalesce(e.id, p.id) as id, p.at, p.table_name, p.row_id, p.actor, e.mark, p.leaf, p.copy, p.erased, p.customer_id,
           row_number() over (partition by e.mark = substr(p.leaf, 1, 8) order by p.xid, p.id) as place,
           row_number() over (partition by e.mark = substr(p.leaf, 1, 8) order by e.n, p.xid) as place_before
      from sealed e full join present p on p.id = e.id),
  found as (
    select case when c.mark is null or c.copy > 1 then 'INSERTED' when c.leaf is null then 'REMOVED' when substr(c.leaf, 1, 8) <> c.mark then 'CHANGED'
                when c.place <> c.place_before then 'REORDERED'
                when c.erased and not exists (select from erasure x where x.customer_id = c.customer_id and x.kind = 'ERASED') then 'ERASED_WITHOUT_PROOF' end as problem,
           c.id, c.at, c.table_name, c.row_id, c.actor
      from compared c)
  select f.problem, f.id, f.at, f.table_name, f.row_id, f.actor from found f where f.problem is not null
  union all
  select 'SEAL_BROKEN', null, null, null, null, null from seal s
   where not exists (select from found f where f.problem in ('CHANGED', 'REMOVED', 'INSERTED', 'REORDERED'))
     and s.digest is distinct from (select sha256(s.previous || string_agg(p.leaf, ''::bytea order by p.xid, p.id)) from present p)
$$;

-- True only inside the functions below: the setting alone is worth nothing to who may not write erasures.
create function erasing() returns boolean language sql stable as $$
  select coalesce(current_setting('enishi.erasing', true), '') = 'on' and has_table_privilege('public.erasure', 'insert')
$$;

insert into rule (name, effective_from, value, source) values
  ('legal_retention_years', '2000-01-01', '3', 'the antique dealer''s ledger is kept for 3 years');

-- Until when the law wants a customer's data kept, and why; nothing if it does not.
create function legal_retention(customer uuid) returns table (until date, because text) language sql stable as $$
  select max(k.until), string_agg(distinct k.because, ', ') from (
    select ((g.received_on + make_interval(years => (rule_value('legal_retention_years') #>> '{}')::integer))::date) as until, 'GOODS_RECEIVED' as because
      from public.goods g where g.customer_id = customer and g.received_on is not null
    union all
    select (i.updated_at + make_interval(years => (rule_value('legal_retention_years') #>> '{}')::integer))::date, 'CONTRACT' from public.inquiry i
     where i.customer_id = customer and i.stage = 'CONTRACTED'
    union all
    select c.recording_retain_until, 'RECORDING' from public.call_attempt c where c.customer_id = customer and c.recording_ref is not null) k
   where k.until >= current_date having count(*) > 0
$$;

-- Rules about what must not be rewritten do not stand against an erasure.
drop trigger c_rules on appointment;
create trigger c_rules before insert or update on appointment for each row when (not erasing()) execute function appointment_rules();
drop trigger c_rules on solicitation_request;
create trigger c_rules before insert or update on solicitation_request for each row when (not erasing()) execute function solicitation_request_rules();
drop trigger c_lock on solicitation_ban;
create trigger c_lock before insert or update on solicitation_ban for each row when (not erasing()) execute function solicitation_ban_before();
drop trigger c_custom on customer;
create trigger c_custom before insert or update of custom on customer for each row when (not mirroring() and not erasing()) execute function check_custom('customer');
drop trigger c_custom on inquiry;
create trigger c_custom before insert or update of custom on inquiry for each row when (not mirroring() and not erasing()) execute function check_custom('inquiry');

-- Who was erased does not come back: neither by hand nor by a legacy system's mirror, whose record is passed over.
create function stay_erased() returns trigger language plpgsql as $$
declare
  person uuid := case tg_table_name when 'customer' then new.id else (to_jsonb(new) ->> 'customer_id')::uuid end;
begin
  if not exists (select from public.erasure e where e.customer_id = person) or public.erasing() then return new; end if;
  if public.mirroring() then return null; end if;
  perform public.refuse('409', 'ERASED', 'This person was erased, or masked because the law wants the data kept: nothing is written about them any more.', jsonb_build_object('customer_id', person));
  return null;
end $$;
do $$
declare
  t text;
begin
  foreach t in array array['customer', 'customer_phone', 'customer_address', 'customer_email'] loop
    execute format('create trigger b_erased before insert or update on %I for each row execute function stay_erased()', t);
  end loop;
end $$;

-- History of what belongs to an inquiry carries the customer's id as well, so that erasing them finds it.
create function record_inquiry_item() returns trigger language plpgsql security definer as $$
declare
  x public.inquiry_item%rowtype;
begin
  if tg_op = 'DELETE' then x := old; else x := new; end if;
  insert into public.history (table_name, row_id, customer_id, op, actor, request_id, content)
  values (tg_table_name, x.id, (select i.customer_id from public.inquiry i where i.id = x.inquiry_id), tg_op,
          coalesce(nullif(current_setting('enishi.actor', true), ''), 'db:' || session_user), nullif(current_setting('enishi.request', true), ''), to_jsonb(x));
  return null;
end $$;
drop trigger z_record on inquiry_item;
create trigger z_record after insert or update or delete on inquiry_item for each row when (not mirroring()) execute function record_inquiry_item();
update history h set customer_id = i.customer_id from inquiry i where h.table_name = 'inquiry_item' and h.customer_id is null and i.id = (h.content ->> 'inquiry_id')::uuid;

insert into erasure_place values
  ('customer, customer_phone, customer_address, customer_email', 'emptied and hidden'),
  ('inquiry, inquiry_item', 'notes, reasons, custom fields, references and descriptions are emptied; inquiries are hidden'),
  ('hearing_sheet.answers', 'emptied'),
  ('call_task.note', 'emptied; open tasks are cancelled'),
  ('call_attempt.memo, call_attempt.e164, call_attempt.recording_ref', 'emptied'),
  ('appointment.notes, appointment.cancel_reason', 'emptied'),
  ('solicitation_request.verbatim', 'replaced'),
  ('solicitation_ban.reason, solicitation_ban.lift_reason', 'replaced'),
  ('solicitation_ban_key', 'deleted, unless the ban still forbids to call or visit: the law wants it kept'),
  ('goods', 'name, description and custom fields are replaced');

-- Everything of a person in every erasure_place: rows emptied, history without content and salt. `mask`: the law wants the data kept, so only the
-- rows that people work with are emptied, and the history stays for compliance. `decided`: an erasure that was done elsewhere is done again here,
-- whatever stands against it. 404 NOT_FOUND; 409 LEGAL_RETENTION, ERASURE_BLOCKED.
create function erase_person(wanted uuid, person uuid, why text, mask boolean default false, decided boolean default false)
returns erasure language plpgsql security definer set search_path = pg_catalog, public as $$
declare
  done erasure%rowtype;
  kept record;
  open text[];
  inquiries uuid[];
  ids uuid[];
  digits text[];
  mails text[];
  called text;
  places jsonb := '{}';
  n bigint;
  m bigint;
begin
  select c.display_name into called from customer c where c.id = person for update;
  if not found then perform refuse('404', 'NOT_FOUND', 'There is no such customer.'); end if;
  select * into done from erasure e where e.customer_id = person and (e.kind = 'ERASED' or mask) order by e.kind limit 1;
  if found then return done; end if;

  select l.until, l.because into kept from legal_retention(person) l;
  if not mask and not decided and kept.until is not null then
    perform refuse('409', 'LEGAL_RETENTION', format('The law wants this customer''s data kept until %s: have the record masked instead.', kept.until),
      jsonb_build_object('until', kept.until, 'because', kept.because));
  end if;
  inquiries := array(select i.id from inquiry i where i.customer_id = person);
  digits := array(select right(regexp_replace(coalesce(p.e164, p.raw), '[^0-9]', '', 'g'), 9) from customer_phone p
                   where p.customer_id = person and length(regexp_replace(coalesce(p.e164, p.raw), '[^0-9]', '', 'g')) >= 9);
  mails := array(select lower(e.email) from customer_email e where e.customer_id = person);
  if not decided then
    open := array(
      select 'CALL' from call_attempt a where a.customer_id = person and a.ended_at is null
      union all select 'VISIT' from appointment a where a.customer_id = person and a.state in ('HELD', 'BOOKED', 'CONFIRMED', 'EN_ROUTE', 'ARRIVED')
      union all select 'IMPORT' from import_job j where j.state in ('UPLOADED', 'RUNNING')
         and exists (select from unnest(digits) d where position(convert_to(d, 'UTF8') in j.content) > 0));
    if cardinality(open) > 0 then
      perform refuse('409', 'ERASURE_BLOCKED', 'A call, a visit or an import with this customer is not over; end it first.', jsonb_build_object('open', to_jsonb(open)));
    end if;
  end if;
  ids := array(select person union all select unnest(inquiries)
    union all select p.id from customer_phone p where p.customer_id = person union all select p.id from customer_address p where p.customer_id = person
    union all select p.id from customer_email p where p.customer_id = person union all select p.id from inquiry_item p where p.inquiry_id = any (inquiries)
    union all select p.id from call_task p where p.customer_id = person union all select p.id from call_attempt p where p.customer_id = person
    union all select p.id from appointment p where p.customer_id = person union all select p.id from solicitation_request p where p.customer_id = person
    union all select p.id from solicitation_ban p where p.customer_id = person union all select p.id from goods p where p.customer_id = person);

  perform set_config('enishi.erasing', 'on', true);
  update customer set display_name = '—', kana = '', name_key = '', kana_key = '', birth_date = null, notes = '', flags = '{}', custom = '{}',
         deleted_at = coalesce(deleted_at, now()) where id = person;
  n := 1;
  update customer_phone set raw = '—', e164 = null, extension = null, note = '', deleted_at = coalesce(deleted_at, now()) where customer_id = person;
  get diagnostics m = row_count; n := n + m;
  update customer_address set postal_code = null, prefecture = '', city = '', town = '', street = '', building = '', note = '', deleted_at = coalesce(deleted_at, now())
   where customer_id = person;
  get diagnostics m = row_count; n := n + m;
  update customer_email set email = 'erased@invalid', deleted_at = coalesce(deleted_at, now()) where customer_id = person;
  get diagnostics m = row_count; n := n + m;
  places := places || jsonb_build_object('customer, customer_phone, customer_address, customer_email', n);

  update inquiry set notes = '', custom = '{}', external_ref = null, lost_reason = case when lost_reason is not null then '—' end, deleted_at = coalesce(deleted_at, now())
   where customer_id = person;
  get diagnostics n = row_count;
  update inquiry_item set description = '' where inquiry_id = any (inquiries) and description <> '';
  get diagnostics m = row_count;
  places := places || jsonb_build_object('inquiry, inquiry_item', n + m);
  update hearing_sheet set answers = '{}', field_versions = '{}' where customer_id = person;
  get diagnostics n = row_count; places := places || jsonb_build_object('hearing_sheet.answers', n);
  update hearing_sheet_conflict set kept = null, refused = null where customer_id = person;
  get diagnostics n = row_count; places := places || jsonb_build_object('hearing_sheet_conflict.kept, hearing_sheet_conflict.refused', n);
  update call_task set note = '', state = case when state in ('SCHEDULED', 'READY', 'ASSIGNED', 'BLOCKED') then 'CANCELLED' else state end,
         assigned_to = case when state in ('IN_CALL', 'WRAP_UP') then assigned_to end, lease_expires_at = case when state in ('IN_CALL', 'WRAP_UP') then lease_expires_at end
   where customer_id = person and (note <> '' or state in ('SCHEDULED', 'READY', 'ASSIGNED', 'BLOCKED'));
  get diagnostics n = row_count; places := places || jsonb_build_object('call_task.note', n);
  update appointment set notes = '', cancel_reason = case when cancel_reason is not null then '—' end where customer_id = person;
  get diagnostics n = row_count; places := places || jsonb_build_object('appointment.notes, appointment.cancel_reason', n);
  if not mask then
    update call_attempt set memo = '', e164 = null, recording_ref = null where customer_id = person;
    get diagnostics n = row_count; places := places || jsonb_build_object('call_attempt.memo, call_attempt.e164, call_attempt.recording_ref', n);
    update solicitation_request set verbatim = '—' where customer_id = person;
    get diagnostics n = row_count; places := places || jsonb_build_object('solicitation_request.verbatim', n);
    update solicitation_ban set reason = '—', lift_reason = case when lift_reason is not null then '—' end where customer_id = person;
    get diagnostics n = row_count; places := places || jsonb_build_object('solicitation_ban.reason, solicitation_ban.lift_reason', n);
    delete from solicitation_ban_key k using solicitation_ban b where b.id = k.ban_id and b.customer_id = person and not k.active;
    get diagnostics n = row_count; places := places || jsonb_build_object('solicitation_ban_key', n);
    update goods set name = '—', description = '', custom = '{}' where customer_id = person;
    get diagnostics n = row_count; places := places || jsonb_build_object('goods', n);
  end if;

  delete from idempotency i where i.answer ~ array_to_string(ids, '|');
  get diagnostics n = row_count; places := places || jsonb_build_object('idempotency.answer', n);
  update import_row r set content = null
   where r.result = 'REJECTED' and r.content is not null
     and (exists (select from unnest(digits) d where position(d in regexp_replace(normalize(r.content, nfkc), '[^0-9,]', '', 'g')) > 0)
          or exists (select from unnest(mails) e where position(e in lower(r.content)) > 0) or position(to_json(called)::text in r.content) > 0);
  get diagnostics n = row_count; places := places || jsonb_build_object('import_row.content', n, 'import_job.content', 0, 'import_job.preview', 0);
  update takeover_reject r set content = null from legacy_identity l
   where l.id = any (ids) and r.system = l.system and r.domain = l.domain and r.legacy_key = l.legacy_key and r.content is not null;
  get diagnostics n = row_count; places := places || jsonb_build_object('takeover_reject.content', n);
  update takeover_intent set record = '{}' where record_id = any (ids) and record <> '{}';
  get diagnostics n = row_count; places := places || jsonb_build_object('takeover_intent.record', n);
  delete from takeover_difference d where d.record_id = any (ids);
  get diagnostics n = row_count; places := places || jsonb_build_object('takeover_difference.here, takeover_difference.there', n);

  if not mask then
    update history h set digest = sha256(uuid_send(h.salt) || convert_to(h.content::text, 'UTF8')), content = null, salt = null
     where h.content is not null and (h.customer_id = person or h.row_id = any (ids));
    get diagnostics n = row_count; places := places || jsonb_build_object('history.content, history.salt', n);
  end if;
  perform set_config('enishi.erasing', '', true);
  insert into erasure (id, customer_id, kind, reason, until, places, actor, request_id)
  values (wanted, person, case when mask then 'MASKED' else 'ERASED' end, why, case when mask then kept.until end, places,
          coalesce(nullif(current_setting('enishi.actor', true), ''), 'db:' || session_user), nullif(current_setting('enishi.request', true), ''))
  returning * into done;
  return done;
end $$;

-- Masked people whose time has come; at most 20 at a time.
create function erase_due() returns setof uuid language plpgsql security definer set search_path = pg_catalog, public as $$
declare
  e record;
begin
  for e in select x.customer_id, x.reason from erasure x where x.kind = 'MASKED' and x.until < current_date
             and not exists (select from erasure y where y.customer_id = x.customer_id and y.kind = 'ERASED')
             and not exists (select from legal_retention(x.customer_id)) limit 20 loop
    return next (erase_person(new_id(), e.customer_id, e.reason, false, true)).customer_id;
  end loop;
end $$;

-- Does again what a list of erasures says and this database does not know: [{id, customer_id, kind, reason, until}]. How many people that were.
-- Somebody who is not here yet is noted, so that nothing brings them in.
create function reapply_erasures(list jsonb) returns integer language plpgsql security definer set search_path = pg_catalog, public as $$
declare
  e record;
  n integer := 0;
begin
  for e in select x.id, x.customer_id, x.kind, x.reason, x.until, x.actor, x.at
             from jsonb_to_recordset(list) x(id uuid, customer_id uuid, kind text, reason text, until date, actor text, at timestamptz)
            where not exists (select from erasure y where y.customer_id = x.customer_id and y.kind in (x.kind, 'ERASED')) order by x.at loop
    n := n + 1;
    if exists (select from customer c where c.id = e.customer_id) then
      perform erase_person(e.id, e.customer_id, e.reason, e.kind = 'MASKED', true);
      update erasure y set at = e.at, actor = e.actor, until = e.until where y.id = e.id;
    else
      insert into erasure (id, customer_id, kind, reason, until, actor, at) values (e.id, e.customer_id, e.kind, e.reason, e.until, e.actor, e.at) on conflict do nothing;
    end if;
  end loop;
  return n;
end $$;
revoke execute on function erase_person, erase_due, reapply_erasures from enishi_read;

-- As of a moment ------------------------------------------------------------------------------------------------------------

-- Tables whose history is shown.
create function history_tables() returns text[] language sql immutable as $$
  select array['customer', 'customer_phone', 'customer_address', 'customer_email', 'inquiry', 'inquiry_item', 'hearing_sheet', 'call_task', 'call_attempt',
    'appointment', 'visit_slot', 'appraiser', 'appraiser_hours', 'service_area', 'solicitation_request', 'solicitation_ban', 'media_source', 'item_category',
    'custom_field', 'priority_rule', 'team', 'app_user', 'goods']
$$;

-- Whether a row of history is the caller's to see. Who was masked is nobody's but theirs who see all.
create function sees_history(content jsonb, customer uuid, scope text, teams uuid[]) returns boolean language sql stable as $$
  select scope = 'all' or (coalesce((content ->> 'team_id')::uuid = any (teams), false) or exists (select from public.customer c where c.id = customer and c.team_id = any (teams)))
    and not exists (select from public.erasure e where e.customer_id = customer)
$$;

-- Rows of a table as they were, by id after `after`; each id is looked up once, so a page costs as many look-ups as it has rows. A row that was
-- not there at that moment comes without content.
create function records_as_of(wanted text, moment timestamptz, after uuid, most integer)
returns table (row_id uuid, at timestamptz, op text, actor text, content jsonb, customer_id uuid, known boolean) language plpgsql stable security definer set search_path = pg_catalog, public as $$
begin
  if not wanted = any (history_tables()) then return; end if;
  return query execute format(
    'select r.id, h.at, h.op, h.actor, h.content, h.customer_id, h.id is not null from (select %1$I as id from %2$I where %1$I > $1 order by %1$I limit $2) r
       left join lateral (select x.id, x.at, x.op, x.actor, x.content, x.customer_id from history x where x.row_id = r.id and x.table_name = $3 and x.at <= $4
                           order by x.at desc, x.id desc limit 1) h on true order by r.id',
    case wanted when 'hearing_sheet' then 'inquiry_id' else 'id' end, wanted) using after, most, wanted, moment;
end $$;

-- A record's own parts, and the record itself, as they were: of a customer phones, addresses and emails; of an inquiry items and hearing sheet.
create function record_as_of(wanted text, row_wanted uuid, moment timestamptz, parts boolean)
returns table (table_name text, row_id uuid, at timestamptz, op text, actor text, request_id text, content jsonb, customer_id uuid) language sql stable as $$
  (select h.table_name, h.row_id, h.at, h.op, h.actor, h.request_id, h.content, h.customer_id from public.history h
    where h.row_id = row_wanted and h.table_name = wanted and h.at <= moment order by h.at desc, h.id desc limit 1)
  union all
  (select distinct on (h.row_id, h.table_name) h.table_name, h.row_id, h.at, h.op, h.actor, h.request_id, h.content, h.customer_id
     from public.history h
    where parts and wanted in ('customer', 'inquiry') and h.at <= moment
      and h.customer_id = case wanted when 'customer' then row_wanted else (select i.customer_id from public.inquiry i where i.id = row_wanted) end
      and case wanted when 'customer' then h.table_name in ('customer_phone', 'customer_address', 'customer_email')
               else h.table_name in ('inquiry_item', 'hearing_sheet') and (h.content is null or h.content ->> 'inquiry_id' = row_wanted::text) end
    order by h.row_id, h.table_name, h.at desc, h.id desc)
$$;

-- Putting back --------------------------------------------------------------------------------------------------------------

create table put_back_run (
  id uuid primary key,
  selection jsonb not null,                 -- never a person's data: ids, names of fields, moments
  overwrite boolean not null,
  result jsonb not null,
  actor text not null,
  request_id text,
  at timestamptz not null default clock_timestamp()
);
revoke update on put_back_run from enishi_app;

-- The rows of history that a selection means: {kind: RECORD, table, row_id, to, parts}, {kind: REQUEST, request_id, around}, {kind: IMPORT, import_id},
-- {kind: PERSON, user_id, from, to}. One more than the 50,000 that are put back at a time.
create function put_back_changes(selection jsonb) returns setof history language plpgsql stable as $$
begin
  case selection ->> 'kind'
    when 'RECORD' then
      return query select h.* from public.history h
         where h.row_id = (selection ->> 'row_id')::uuid and h.table_name = selection ->> 'table' and h.at > (selection ->> 'to')::timestamptz limit 50001;
      if (selection ->> 'parts')::boolean then
        return query select h.* from public.history h
           where h.customer_id = case selection ->> 'table' when 'customer' then (selection ->> 'row_id')::uuid
                   else (select i.customer_id from public.inquiry i where i.id = (selection ->> 'row_id')::uuid) end
             and h.at > (selection ->> 'to')::timestamptz
             and case selection ->> 'table' when 'customer' then h.table_name in ('customer_phone', 'customer_address', 'customer_email')
                   when 'inquiry' then h.table_name in ('inquiry_item', 'hearing_sheet') and h.content ->> 'inquiry_id' = selection ->> 'row_id' else false end limit 50001;
      end if;
    when 'REQUEST' then
      return query select h.* from public.history h
         where h.at between (selection ->> 'around')::timestamptz - interval '10 minutes' and (selection ->> 'around')::timestamptz + interval '10 minutes'
           and h.request_id = selection ->> 'request_id' limit 50001;
    when 'IMPORT' then
      return query select h.* from public.import_job j join public.history h
            on h.at between j.started_at and coalesce(j.finished_at, now()) and h.request_id = j.id::text
         where j.id = (selection ->> 'import_id')::uuid limit 50001;
    when 'PERSON' then
      return query select h.* from public.history h
         where h.at between (selection ->> 'from')::timestamptz and (selection ->> 'to')::timestamptz and h.actor = 'user:' || (selection ->> 'user_id') limit 50001;
  end case;
end $$;

-- What putting back would do, a line a row: UPDATE (fields), HIDE what was made, RESTORE what was deleted, NOTHING any more, LEFT with a reason, or
-- OUT_OF_SCOPE. A field somebody else changed afterwards has the conflict EDITED_SINCE, a stage that cannot be gone back to ILLEGAL_TRANSITION.
-- Fields that mean one thing (a name and its keys, a number and its parts, a stage and its reasons) go together.
create function put_back_plan(selection jsonb, scope text, teams uuid[])
returns table (rank integer, table_name text, row_id uuid, customer_id uuid, action text, reason text, conflict text, fields jsonb, latest bigint, content jsonb, edited jsonb)
language sql stable as $$
  with s as materialized (select c.table_name, c.row_id, c.customer_id, c.op, c.at, c.id, c.content from put_back_changes(selection) c),
  r as (
    select s.table_name, s.row_id, max(s.customer_id::text)::uuid as customer_id, (array_agg(s.op order by s.at, s.id))[1] as first_op,
           (array_agg(s.at order by s.at, s.id))[1] as first_at, (array_agg(s.id order by s.at, s.id))[1] as first_id, array_agg(s.id) as ids
      from s group by s.table_name, s.row_id),
  n as materialized (
    select r.*, l.id as latest, l.op as latest_op, l.content as current, p.content as prior
      from r
      cross join lateral (select x.id, x.op, x.content from history x where x.row_id = r.row_id and x.table_name = r.table_name order by x.at desc, x.id desc limit 1) l
      left join lateral (select x.content from history x where x.row_id = r.row_id and x.table_name = r.table_name and (x.at, x.id) < (r.first_at, r.first_id)
                          order by x.at desc, x.id desc limit 1) p on true),
  d as (
    select s.table_name, s.row_id, s.at, s.id, e.key, p.content -> e.key as was, e.value as became
      from s
      cross join lateral (select x.content from history x where s.op = 'UPDATE' and x.row_id = s.row_id and x.table_name = s.table_name and (x.at, x.id) < (s.at, s.id)
                           order by x.at desc, x.id desc limit 1) p
      cross join lateral jsonb_each(s.content) e
     where p.content is not null and e.value is distinct from p.content -> e.key
       and e.key not in ('id', 'version', 'created_at', 'updated_at', 'address_key', 'field_versions', 'customer_id', 'inquiry_id')),
  f as (
    select d.table_name, d.row_id, d.key, (array_agg(d.was order by d.at, d.id))[1] as was, (array_agg(d.became order by d.at desc, d.id desc))[1] as became,
           case when d.key in ('name_key') then 'display_name' when d.key = 'kana_key' then 'kana'
                when d.table_name = 'customer_phone' and d.key in ('e164', 'extension', 'kind', 'valid_hint') then 'raw'
                when d.table_name = 'inquiry' and d.key in ('lost_reason', 'invalid_reason', 'next_action', 'next_action_at') then 'stage' else d.key end as goes_with
      from d group by d.table_name, d.row_id, d.key),
  g as (
    select f.table_name, f.row_id, f.key, f.was, n.current -> f.key as now,
           case when f.key = 'stage' and f.table_name = 'inquiry' and n.current ->> 'stage' <> f.was #>> '{}'
                     and not exists (select from transition t where t.entity = 'inquiry' and t.from_state = n.current ->> 'stage' and t.to_state = f.was #>> '{}') then 'ILLEGAL_TRANSITION'
                when n.current -> f.key is distinct from f.became and n.current -> f.key is distinct from f.was then 'EDITED_SINCE' end as conflict, f.goes_with
      from f join n using (table_name, row_id)
     where selection -> 'fields' is null or selection -> 'fields' ? f.goes_with),
  k as (
    select g.table_name, g.row_id, jsonb_agg(jsonb_build_object('field', g.key, 'now', g.now, 'back_to', g.was, 'conflict', g.clash) order by g.key) as fields, max(g.clash) as conflict
      from (select g.*, max(g.conflict) over (partition by g.table_name, g.row_id, g.goes_with) as clash from g) g
     where g.now is distinct from g.was group by g.table_name, g.row_id),
  acts as (
    select n.*, k.fields, k.conflict,
           case when not sees_history(n.current, n.customer_id, scope, teams) then 'OUT_OF_SCOPE'
                when n.current is null or exists (select from erasure e where e.customer_id = n.customer_id) then 'LEFT ERASED'
                when not n.table_name = any (array['customer', 'customer_phone', 'customer_address', 'customer_email', 'inquiry', 'inquiry_item', 'hearing_sheet',
                                                   'media_source', 'item_category', 'custom_field', 'service_area', 'appraiser']) then 'LEFT NOT_PUT_BACK'
                when n.first_op = 'INSERT' and (n.latest_op = 'DELETE' or n.current ->> 'deleted_at' is not null) then 'NOTHING'
                when n.first_op = 'INSERT' and not n.current ? 'deleted_at' then 'LEFT NOT_HIDEABLE'
                when n.first_op = 'INSERT' then 'HIDE'
                when n.latest_op = 'DELETE' then 'RESTORE'
                when k.fields is null then 'NOTHING'
                else 'UPDATE' end as what
      from n left join k using (table_name, row_id))
  select array_position(array['customer', 'customer_phone', 'customer_address', 'customer_email', 'inquiry', 'inquiry_item', 'hearing_sheet'], a.table_name),
         a.table_name, a.row_id, a.customer_id, split_part(a.what, ' ', 1), nullif(split_part(a.what, ' ', 2), ''),
         case when a.what = 'UPDATE' then a.conflict
              when a.what = 'HIDE' and (not a.latest = any (a.ids) or a.table_name = 'customer' and (
                     exists (select from call_attempt c where c.customer_id = a.row_id)
                     or exists (select from inquiry i where i.customer_id = a.row_id and i.deleted_at is null and not exists (select from r where r.row_id = i.id and r.table_name = 'inquiry')))
                   or a.table_name = 'inquiry' and exists (select from call_attempt c where c.inquiry_id = a.row_id)) then 'EDITED_SINCE' end,
         case when a.what = 'UPDATE' then a.fields end, a.latest,
         case when a.what = 'RESTORE' then coalesce(a.prior, a.current) end,
         case when a.what in ('UPDATE', 'HIDE', 'RESTORE') then
           (select jsonb_agg(jsonb_build_object('at', e.at, 'actor', e.actor, 'request_id', e.request_id, 'op', e.op) order by e.at desc)
              from (select x.at, x.actor, x.request_id, x.op from history x where x.row_id = a.row_id and x.table_name = a.table_name
                       and (x.at, x.id) >= (a.first_at, a.first_id) and (selection ->> 'kind' = 'RECORD' or not x.id = any (a.ids)) order by x.at desc limit 20) e) end
    from acts a
$$;

-- The plan as the API shows it: counts, the first 200 rows, and `seen`, which changes as soon as one of the rows does.
create function put_back_preview(selection jsonb, scope text, teams uuid[]) returns jsonb language sql stable as $$
  with plan as materialized (select p.* from put_back_plan(selection, scope, teams) p),
  shown as (select p.* from plan p where p.action not in ('OUT_OF_SCOPE', 'NOTHING') order by p.conflict is null, p.rank, p.row_id limit 200)
  select jsonb_build_object(
    'items', coalesce((select jsonb_agg(jsonb_build_object('table', p.table_name, 'row_id', p.row_id, 'customer_id', p.customer_id, 'action', p.action, 'reason', p.reason,
        'conflict', p.conflict, 'fields', coalesce(p.fields, '[]'), 'edited_since', coalesce(p.edited, '[]')) order by p.conflict is null, p.rank, p.row_id) from shown p), '[]'),
    'rows', (select count(*) from plan p where p.action in ('UPDATE', 'HIDE', 'RESTORE')), 'conflicts', (select count(*) from plan p where p.conflict is not null),
    'left', (select count(*) from plan p where p.action = 'LEFT'), 'out_of_scope', (select count(*) from plan p where p.action = 'OUT_OF_SCOPE'),
    'seen', encode(sha256(convert_to(coalesce((select string_agg(p.row_id::text || p.latest::text, ',' order by p.row_id, p.table_name) from plan p), ''), 'UTF8')), 'hex'))
$$;

-- Does it. `seen` is the preview's: what was edited after it is not overwritten, 409 CHANGED_SINCE_PREVIEW. Conflicts are left as they are unless
-- `overwrite`. The same id again gives the same answer; with another selection 409 ID_TAKEN.
create function put_back(wanted uuid, selection jsonb, seen text, overwrite boolean, scope text, teams uuid[]) returns jsonb language plpgsql as $$
declare
  before public.put_back_run%rowtype;
  p record;
  columns text;
  key text;
  put jsonb;
  changed integer := 0;
  conflicts integer := 0;
  answer jsonb;
begin
  perform pg_advisory_xact_lock(hashtextextended(wanted::text, 17));
  select * into before from public.put_back_run x where x.id = wanted;
  if found then
    if before.selection <> put_back.selection then perform public.refuse('409', 'ID_TAKEN', 'Another put-back has this id; make a new one.', jsonb_build_object('id', wanted)); end if;
    return before.result;
  end if;
  if (select count(*) from public.put_back_changes(selection)) > 50000 then
    perform public.refuse('422', 'TOO_MANY_CHANGES', 'More than 50,000 changes: choose a shorter interval.');
  end if;
  for p in select distinct c.table_name, c.row_id from public.put_back_changes(selection) c where c.table_name = any (public.history_tables()) order by 1, 2 loop
    execute format('select from public.%I where %I = $1 for update', p.table_name, case p.table_name when 'hearing_sheet' then 'inquiry_id' else 'id' end) using p.row_id;
  end loop;
  answer := public.put_back_preview(selection, scope, teams);
  if answer ->> 'seen' <> put_back.seen then
    perform public.refuse('409', 'CHANGED_SINCE_PREVIEW', 'Somebody changed one of these records after the preview; look at it again.', jsonb_build_object('seen', answer -> 'seen'));
  end if;

  for p in select x.* from public.put_back_plan(selection, scope, teams) x where x.action in ('UPDATE', 'HIDE', 'RESTORE') order by x.action = 'HIDE', case when x.action = 'HIDE' then -coalesce(x.rank, 99) else coalesce(x.rank, 99) end, x.row_id loop
    key := case p.table_name when 'hearing_sheet' then 'inquiry_id' else 'id' end;
    if p.conflict is not null and not overwrite then
      conflicts := conflicts + 1;
      if p.action <> 'UPDATE' then continue; end if;
    end if;
    if p.action = 'HIDE' then
      execute format('update public.%I set deleted_at = now() where %I = $1 and deleted_at is null', p.table_name, key) using p.row_id;
      if p.table_name = 'inquiry' then
        update public.call_task t set state = 'CANCELLED', assigned_to = null, lease_expires_at = null where t.inquiry_id = p.row_id and t.state in ('SCHEDULED', 'READY', 'ASSIGNED', 'BLOCKED');
      end if;
    elsif p.action = 'RESTORE' then
      select string_agg(quote_ident(a.attname), ', ') into columns from pg_attribute a
       where a.attrelid = ('public.' || quote_ident(p.table_name))::regclass and a.attnum > 0 and not a.attisdropped and a.attgenerated = '';
      execute format('insert into public.%1$I (%2$s) select %2$s from jsonb_populate_record(null::public.%1$I, $1)', p.table_name, columns) using p.content;
    else
      select jsonb_object_agg(e ->> 'field', e -> 'back_to') into put from jsonb_array_elements(p.fields) e
       where e ->> 'conflict' is null or overwrite and e ->> 'conflict' = 'EDITED_SINCE';
      if put is null then continue; end if;
      select string_agg(format('%1$I = r.%1$I', a.attname), ', ') into columns from pg_attribute a
       where a.attrelid = ('public.' || quote_ident(p.table_name))::regclass and a.attnum > 0 and not a.attisdropped and a.attgenerated = '' and put ? a.attname;
      if columns is null then continue; end if;
      -- Whoever has the sheet open is told of every field that comes back.
      if p.table_name = 'hearing_sheet' and put ? 'answers' then
        columns := columns || ', field_versions = (select coalesce(jsonb_object_agg(k, t.version + 1), ''{}'') from jsonb_object_keys(t.answers || r.answers) k)';
      end if;
      execute format('update public.%1$I t set %2$s from jsonb_populate_record(null::public.%1$I, $1) r where t.%3$I = $2', p.table_name, columns, key) using put, p.row_id;
    end if;
    changed := changed + 1;
  end loop;
  answer := jsonb_build_object('id', wanted, 'changed', changed, 'conflicts', conflicts, 'left', answer -> 'left', 'out_of_scope', answer -> 'out_of_scope');
  insert into public.put_back_run (id, selection, overwrite, result, actor, request_id)
  values (wanted, selection, overwrite, answer, coalesce(nullif(current_setting('enishi.actor', true), ''), 'db:' || session_user), nullif(current_setting('enishi.request', true), ''));
  return answer;
end $$;

select grant_operation('list_records_as_of', 'supervisor:team compliance:all admin:all');
select grant_operation('compare_record', 'supervisor:team compliance:all admin:all');
select grant_operation('preview_put_back', 'supervisor:team compliance:all admin:all');
select grant_operation('put_back', 'supervisor:team compliance:all admin:all');
select grant_operation('erase_customer', 'compliance:all admin:all');
select grant_operation('list_erasures', 'compliance:all admin:all');
