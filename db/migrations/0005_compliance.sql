-- Who asked to be solicited, and who must not be.

-- Proof that the customer asked (the Act on Specified Commercial Transactions, home-visit purchase).
create table solicitation_request (
  id uuid primary key,
  customer_id uuid not null references customer,
  inquiry_id uuid not null references inquiry,
  scope text not null check (scope in ('APPRAISAL_ONLY', 'PURCHASE')),
  category_ids uuid[] not null check (cardinality(category_ids) between 1 and 50),
  call_attempt_id uuid,
  operator_id uuid not null references app_user,
  verbatim text not null check (length(verbatim) between 1 and 2000),   -- the customer's own words
  disclosed_at timestamptz,                 -- name, purpose and item types were stated before soliciting
  willingness_confirmed_at timestamptz,     -- the customer said on the call that they want it
  requested_at timestamptz not null default now(),
  version integer not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz
);
create index solicitation_request_inquiry on solicitation_request (inquiry_id) where deleted_at is null;
create index solicitation_request_customer on solicitation_request (customer_id, requested_at desc) where deleted_at is null;

-- Proof is not rewritten: what was asked, by whom and in which words stands; disclosure and willingness may be confirmed later, once.
create function solicitation_request_rules() returns trigger language plpgsql as $$
declare
  unknown uuid[];
begin
  if tg_op = 'UPDATE' then
    if (new.inquiry_id, new.scope, new.category_ids, new.call_attempt_id, new.operator_id, new.verbatim, new.requested_at)
         is distinct from (old.inquiry_id, old.scope, old.category_ids, old.call_attempt_id, old.operator_id, old.verbatim, old.requested_at)
       or old.disclosed_at is not null and new.disclosed_at is distinct from old.disclosed_at
       or old.willingness_confirmed_at is not null and new.willingness_confirmed_at is distinct from old.willingness_confirmed_at then
      perform public.refuse('409', 'REQUEST_IMMUTABLE', 'A recorded request is proof and is not rewritten; record a new one.');
    end if;
    if new.customer_id = old.customer_id then return new; end if;
  end if;
  if not exists (select from public.inquiry i where i.id = new.inquiry_id and i.customer_id = new.customer_id and i.deleted_at is null) then
    perform public.refuse('422', 'INQUIRY_NOT_OF_CUSTOMER', 'The inquiry is not one of this customer.',
      jsonb_build_object('inquiry_id', new.inquiry_id, 'customer_id', new.customer_id));
  end if;
  if new.call_attempt_id is not null and not exists (select from public.call_attempt c where c.id = new.call_attempt_id and c.customer_id = new.customer_id) then
    perform public.refuse('422', 'CALL_NOT_OF_CUSTOMER', 'The call was not with this customer.', jsonb_build_object('call_attempt_id', new.call_attempt_id));
  end if;
  select array_agg(c) into unknown from unnest(new.category_ids) c
   where not exists (select from public.item_category k where k.id = c and k.deleted_at is null);
  if unknown is not null then
    perform public.refuse('422', 'CATEGORY_NOT_FOUND', 'There is no such item category.', jsonb_build_object('category_ids', to_jsonb(unknown)));
  end if;
  return new;
end $$;

create table solicitation_ban (
  id uuid primary key,
  customer_id uuid not null references customer,
  reason text not null check (length(reason) between 1 and 1000),
  source text not null check (source in ('REFUSED', 'REQUEST', 'COMPLAINT', 'COMPLIANCE')),
  call_attempt_id uuid,
  inquiry_id uuid references inquiry,
  banned_at timestamptz not null default now(),
  lifted_at timestamptz,
  lift_reason text check (length(lift_reason) between 1 and 1000),
  lift_inquiry_id uuid references inquiry,
  version integer not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint lifted_with_reason check (lifted_at is null or lift_reason is not null or lift_inquiry_id is not null)
);
create index solicitation_ban_customer on solicitation_ban (customer_id, banned_at desc, id desc);

-- What the ban covers: the customer, each phone, each address, as they were; survives merges and edits. Written by the ban's trigger only.
create table solicitation_ban_key (
  ban_id uuid not null references solicitation_ban,
  kind text not null check (kind in ('customer', 'phone', 'address')),
  key text not null,
  active boolean not null default true,
  primary key (ban_id, kind, key)
);
create index solicitation_ban_key_active on solicitation_ban_key (key, kind) where active;
revoke insert, update on solicitation_ban_key from enishi_app;

-- Keys that a customer's bans and contacts exclude each other by.
create function contact_keys(customer uuid) returns table (kind text, key text) language sql stable as $$
  select 'customer', customer::text
  union select 'phone', p.e164 from public.customer_phone p where p.customer_id = customer and p.e164 is not null and p.deleted_at is null
  union select 'address', a.address_key from public.customer_address a where a.customer_id = customer and a.address_key is not null and a.deleted_at is null
$$;

-- Takes the advisory locks of a customer's keys in sorted order: bans exclusively, calls and bookings shared. Without it both may commit
-- (write skew). The caller checks in a later statement, whose snapshot is taken after the locks.
create function lock_contact_keys(customer uuid, exclusively boolean, dialled text default null) returns void language plpgsql as $$
begin
  -- The inner select sorts before the outer one locks.
  perform case when exclusively then pg_advisory_xact_lock(k.h) else pg_advisory_xact_lock_shared(k.h) end
     from (select hashtextextended('customer' || customer::text, 11) as h
           union select hashtextextended('phone' || p.e164, 11) from public.customer_phone p where p.customer_id = customer and p.e164 is not null and p.deleted_at is null
           union select hashtextextended('address' || a.address_key, 11) from public.customer_address a
                  where a.customer_id = customer and a.address_key is not null and a.deleted_at is null
           union select hashtextextended('phone' || dialled, 11) where dialled is not null
           order by h) k;
end $$;

-- The active ban that covers a customer, by themselves, a phone or an address; null if none.
create function active_ban(customer uuid) returns uuid language plpgsql stable as $$
begin
  -- Keys of different kinds never look alike: a UUID, an E.164 number, an address with its prefecture.
  return (select b.ban_id from public.solicitation_ban_key b
           where b.active and b.key = any (array[customer::text]
                   || array(select p.e164 from public.customer_phone p where p.customer_id = customer and p.e164 is not null and p.deleted_at is null)
                   || array(select a.address_key from public.customer_address a where a.customer_id = customer and a.address_key is not null and a.deleted_at is null))
           limit 1);
end $$;

-- The active ban that covers a number, whoever's it is; null if none.
create function active_ban_of_phone(e164 text) returns uuid language sql stable as $$
  select b.ban_id from public.solicitation_ban_key b where b.kind = 'phone' and b.key = e164 and b.active limit 1
$$;

-- `dialled`: a number to be called that may not be among the customer's own.
create function assert_not_banned(customer uuid, dialled text default null) returns void language plpgsql as $$
declare
  ban uuid;
begin
  perform public.lock_contact_keys(customer, false, dialled);
  ban := coalesce(public.active_ban(customer), public.active_ban_of_phone(dialled));
  if ban is not null then
    perform public.refuse('409', 'RESOLICITATION_BANNED',
      'This customer, phone or address must not be solicited again. A new inquiry by the customer, or compliance with a reason, lifts the ban.',
      jsonb_build_object('ban_id', ban, 'customer_id', customer));
  end if;
end $$;

create function solicitation_ban_before() returns trigger language plpgsql as $$
begin
  if tg_op = 'INSERT' then
    perform public.lock_contact_keys(new.customer_id, true);
    if new.lifted_at is not null then
      perform public.refuse('409', 'BAN_IMMUTABLE', 'A ban starts unlifted; lift it with a reason afterwards.');
    end if;
    return new;
  end if;
  if (new.banned_at, new.source, new.reason, new.call_attempt_id, new.inquiry_id) is distinct from (old.banned_at, old.source, old.reason, old.call_attempt_id, old.inquiry_id)
     or old.lifted_at is not null and (new.lifted_at, new.lift_reason, new.lift_inquiry_id) is distinct from (old.lifted_at, old.lift_reason, old.lift_inquiry_id) then
    perform public.refuse('409', 'BAN_IMMUTABLE', 'A ban is not rewritten: lift it with a reason, or make a new one.');
  end if;
  if new.lifted_at is not null and old.lifted_at is null and new.lift_inquiry_id is not null and not exists (
       select from public.inquiry i where i.id = new.lift_inquiry_id and i.customer_id = old.customer_id and i.customer_initiated and i.received_at > old.banned_at) then
    perform public.refuse('422', 'BAN_NOT_LIFTED', 'Only an inquiry that the customer made after the ban lifts it.', jsonb_build_object('inquiry_id', new.lift_inquiry_id));
  end if;
  return new;
end $$;

-- Runs as the owner, who alone writes keys. Open tasks of everyone the ban covers become BLOCKED; tasks on the phone right now end by themselves.
create function solicitation_ban_after() returns trigger language plpgsql security definer set search_path = public, pg_temp as $$
begin
  if tg_op = 'INSERT' then
    insert into public.solicitation_ban_key (ban_id, kind, key) select new.id, k.kind, k.key from public.contact_keys(new.customer_id) k;
    update public.call_task t set state = 'BLOCKED', blocked_reason = 'RESOLICITATION_BANNED', assigned_to = null, lease_expires_at = null
     where t.state in ('SCHEDULED', 'READY', 'ASSIGNED') and t.customer_id in (
       select new.customer_id
       union select p.customer_id from public.customer_phone p join public.contact_keys(new.customer_id) k on k.kind = 'phone' and p.e164 = k.key where p.deleted_at is null
       union select a.customer_id from public.customer_address a join public.contact_keys(new.customer_id) k on k.kind = 'address' and a.address_key = k.key where a.deleted_at is null);
  elsif new.lifted_at is not null and old.lifted_at is null then
    update public.solicitation_ban_key k set active = false where k.ban_id = new.id;
  end if;
  return null;
end $$;

create trigger c_lock before insert or update on solicitation_ban for each row execute function solicitation_ban_before();
create trigger y_cover after insert or update on solicitation_ban for each row execute function solicitation_ban_after();

-- A new inquiry of the customer's own lifts their bans. A ban of somebody else that covers their phone or address stays: compliance decides.
create function lift_bans_of(lead public.inquiry) returns void language sql as $$
  update public.solicitation_ban b set lifted_at = now(), lift_inquiry_id = lead.id
   where lead.customer_initiated and lead.channel in ('PHONE', 'WEB')
     and b.customer_id = lead.customer_id and b.lifted_at is null and b.banned_at < least(lead.received_at, now())
$$;
create function lift_bans_by_inquiry() returns trigger language plpgsql as $$
begin
  perform public.lift_bans_of(new);
  return null;
end $$;
create trigger y_lift after insert on inquiry for each row execute function lift_bans_by_inquiry();

create trigger c_rules before insert or update on solicitation_request for each row execute function solicitation_request_rules();

select make_business_table('solicitation_request', 'compliance', 'solicitation_request');
select make_business_table('solicitation_ban', 'compliance', 'solicitation_ban');

-- Rules as data: who added one, and the shape each has. The API refuses names that nothing reads.
alter table rule add column added_by text not null default coalesce(nullif(current_setting('enishi.actor', true), ''), 'db:' || session_user);
alter table rule add column added_at timestamptz not null default now();

create function rule_shape_problem(name text, value jsonb) returns text language plpgsql stable as $$
declare
  clock constant text := '^([01][0-9]|2[0-3]):[0-5][0-9]$';
begin
  case name
    when 'contact_hours' then
      if jsonb_typeof(value) <> 'object' or (select count(*) from jsonb_object_keys(value)) <> 2
         or coalesce(value ->> 'from', '') !~ clock or coalesce(value ->> 'to', '') !~ (clock || '|^24:00$') or (value ->> 'from') >= (value ->> 'to') then
        return 'contact_hours is {"from": "HH:MM", "to": "HH:MM"} with from before to (24:00 is the end of the day)';
      end if;
    when 'business_time_zone' then
      if jsonb_typeof(value) <> 'string' or not exists (select from pg_catalog.pg_timezone_names z where z.name = value #>> '{}') then
        return 'business_time_zone is the name of a time zone, such as "Asia/Tokyo"';
      end if;
    when 'pre_visit_call_at' then
      if jsonb_typeof(value) <> 'string' or (value #>> '{}') !~ clock then return 'pre_visit_call_at is a time of day "HH:MM"'; end if;
    when 'appointment_hold_seconds', 'task_lease_seconds', 'first_call_seconds', 'call_lease_seconds', 'inbound_call_seconds' then
      if jsonb_typeof(value) <> 'number' or (value #>> '{}') !~ '^[1-9][0-9]{0,4}$' then
        return name || ' is a whole number of seconds from 1 to 99999';
      end if;
    else
      return null;
  end case;
  return null;
end $$;

create function rule_rules() returns trigger language plpgsql as $$
declare
  problem text := public.rule_shape_problem(new.name, new.value);
begin
  if problem is not null then
    perform public.refuse('422', 'VALIDATION_FAILED', problem || '.',
      jsonb_build_object('errors', jsonb_build_array(jsonb_build_object('pointer', '/value', 'code', 'SHAPE', 'detail', problem))));
  end if;
  return new;
end $$;
create trigger c_rules before insert or update on rule for each row execute function rule_rules();

insert into rule (name, effective_from, value, source) values
  ('pre_visit_call_at', '2000-01-01', '"17:00"', 'configuration: the call on the day before a visit');
