-- Areas, appraisers, slots and appointments (アポ). Double booking is impossible, not unlikely.

insert into transition (entity, from_state, to_state) values
  ('appointment', 'HELD', 'BOOKED'), ('appointment', 'HELD', 'CANCELLED'),
  ('appointment', 'BOOKED', 'CONFIRMED'), ('appointment', 'BOOKED', 'CANCELLED'), ('appointment', 'BOOKED', 'RESCHEDULED'), ('appointment', 'BOOKED', 'EN_ROUTE'), ('appointment', 'BOOKED', 'NO_SHOW'),
  ('appointment', 'CONFIRMED', 'EN_ROUTE'), ('appointment', 'CONFIRMED', 'CANCELLED'), ('appointment', 'CONFIRMED', 'RESCHEDULED'), ('appointment', 'CONFIRMED', 'NO_SHOW'),
  ('appointment', 'EN_ROUTE', 'ARRIVED'), ('appointment', 'EN_ROUTE', 'CANCELLED'), ('appointment', 'EN_ROUTE', 'NO_SHOW'),
  ('appointment', 'ARRIVED', 'COMPLETED'), ('appointment', 'ARRIVED', 'NO_SHOW'), ('appointment', 'ARRIVED', 'CANCELLED');

create table service_area (
  id uuid primary key,
  name text not null check (length(name) between 1 and 100),
  team_id uuid references team,
  active boolean not null default true,
  version integer not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz
);
create unique index service_area_name on service_area (name) where deleted_at is null;

-- A prefix of 3 to 7 digits; the longest that fits a postal code wins.
create table service_area_postal (
  service_area_id uuid not null references service_area,
  postal_prefix text not null check (postal_prefix ~ '^[0-9]{3,7}$'),
  primary key (postal_prefix)
);
grant delete on service_area_postal to enishi_app;

create function area_of_postal_code(code text) returns uuid language sql stable as $$
  select p.service_area_id from public.service_area_postal p join public.service_area a on a.id = p.service_area_id and a.active and a.deleted_at is null
   where p.postal_prefix in (code, left(code, 6), left(code, 5), left(code, 4), left(code, 3)) order by length(p.postal_prefix) desc limit 1
$$;

create table appraiser (
  id uuid primary key,
  user_id uuid unique references app_user,
  display_name text not null check (length(display_name) between 1 and 200),
  skills uuid[] not null default '{}',      -- item categories; empty: all
  area_ids uuid[] not null default '{}',    -- service areas; empty: all
  team_id uuid references team,
  active boolean not null default true,
  version integer not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz
);

-- When an appraiser works: weekly hours (weekday 0 Sunday … 6 Saturday, business time zone), and days that differ.
create table appraiser_hours (
  id uuid primary key,
  appraiser_id uuid not null references appraiser,
  weekday integer check (weekday between 0 and 6),
  day date,
  from_time time not null,
  to_time time not null,
  off boolean not null default false,       -- does not work then; a whole day is 00:00 to 24:00
  version integer not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz,
  check ((weekday is null) <> (day is null)),
  check (from_time < to_time)
);
create index appraiser_hours_appraiser on appraiser_hours (appraiser_id) where deleted_at is null;

-- When an appraiser is on duty on a day of the business time zone: the day's own hours, else the weekly ones, less what is off.
create function appraiser_duty(who uuid, on_day date) returns tstzmultirange language sql stable as $$
  with z as (select public.rule_value('business_time_zone') #>> '{}' as tz),
  h as (select x.off, x.day is not null as special,
               tstzrange((on_day + x.from_time) at time zone z.tz, (on_day + x.to_time) at time zone z.tz) as span
          from public.appraiser_hours x, z
         where x.appraiser_id = who and x.deleted_at is null and (x.day = on_day or x.weekday = extract(dow from on_day)))
  select coalesce(range_agg(h.span) filter (where not h.off and (h.special or not exists (select from h s where s.special and not s.off))), '{}'::tstzmultirange)
       - coalesce(range_agg(h.span) filter (where h.off), '{}'::tstzmultirange)
    from h
$$;

create function appraiser_works(who uuid, starts timestamptz, ends timestamptz) returns boolean language sql stable as $$
  select public.appraiser_duty(who, (starts at time zone (public.rule_value('business_time_zone') #>> '{}'))::date) @> tstzrange(starts, ends)
$$;

create table visit_slot (
  id uuid primary key,
  service_area_id uuid not null references service_area,
  starts_at timestamptz not null,
  ends_at timestamptz not null,
  capacity integer not null check (capacity between 0 and 1000),
  version integer not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz,
  check (starts_at < ends_at and ends_at - starts_at <= interval '12 hours')
);
create unique index visit_slot_band on visit_slot (service_area_id, starts_at, ends_at) where deleted_at is null;
create index visit_slot_starts on visit_slot (starts_at) where deleted_at is null;

create table appointment (
  id uuid primary key,
  customer_id uuid not null references customer,
  inquiry_id uuid not null references inquiry,
  slot_id uuid not null references visit_slot,
  appraiser_id uuid not null references appraiser,
  address_id uuid references customer_address,
  solicitation_request_id uuid references solicitation_request,
  category_ids uuid[] not null default '{}',
  state text not null check (state in ('HELD', 'BOOKED', 'CONFIRMED', 'EN_ROUTE', 'ARRIVED', 'COMPLETED', 'CANCELLED', 'RESCHEDULED', 'NO_SHOW')),
  starts_at timestamptz not null,
  ends_at timestamptz not null,
  hold_expires_at timestamptz,
  cancelled_by text check (cancelled_by in ('CUSTOMER', 'COMPANY', 'SYSTEM')),
  cancel_reason text check (length(cancel_reason) between 1 and 1000),
  rescheduled_to uuid references appointment deferrable initially deferred,
  door_confirmed_at timestamptz,            -- the customer said at the door, too, that they want the visit
  notes text not null default '' check (length(notes) <= 2000),
  owner_id uuid references app_user,
  team_id uuid references team,
  version integer not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  check (starts_at < ends_at),
  constraint held_expires check ((state = 'HELD') = (hold_expires_at is not null)),
  constraint cancelled_has_reason check (state <> 'CANCELLED' or (cancelled_by is not null and cancel_reason is not null)),
  constraint rescheduled_has_new check ((state = 'RESCHEDULED') = (rescheduled_to is not null)),
  -- An appraiser is in one place at a time.
  constraint appraiser_double_booked exclude using gist (appraiser_id with =, tstzrange(starts_at, ends_at) with &&)
    where (state in ('HELD', 'BOOKED', 'CONFIRMED', 'EN_ROUTE', 'ARRIVED'))
);
-- An inquiry has one live appointment.
create unique index appointment_one_live on appointment (inquiry_id) where state in ('HELD', 'BOOKED', 'CONFIRMED', 'EN_ROUTE', 'ARRIVED');
create index appointment_slot on appointment (slot_id) where state in ('HELD', 'BOOKED', 'CONFIRMED', 'EN_ROUTE', 'ARRIVED');
create index appointment_customer on appointment (customer_id, starts_at desc, id desc);
create index appointment_starts on appointment (starts_at, id);
create index appointment_hold on appointment (hold_expires_at) where state = 'HELD';
create index appointment_inquiry on appointment (inquiry_id);
create index appointment_appraiser on appointment (appraiser_id, starts_at, id);
create index appointment_owner on appointment (owner_id, starts_at, id);

alter table call_task add foreign key (appointment_id) references appointment;

-- The refusal of check_transition(), for functions that know before they try.
create function refuse_transition(entity text, from_state text, to_state text) returns void language plpgsql as $$
begin
  perform public.refuse('409', 'ILLEGAL_TRANSITION', format('A %s that is %s cannot become %s.', entity, from_state, to_state),
    jsonb_build_object('entity', entity, 'current_state', from_state, 'requested_state', to_state, 'allowed_transitions',
      coalesce((select jsonb_agg(t.to_state order by t.to_state) from public.transition t where t.entity = refuse_transition.entity and t.from_state = refuse_transition.from_state), '[]')));
end $$;

-- Locks are taken in one order everywhere: contact keys, the slot, appointments (others' expired holds without waiting), inquiry, tasks.
create function appointment_rules() returns trigger language plpgsql as $$
declare
  slot public.visit_slot%rowtype;
  worker public.appraiser%rowtype;
  request public.solicitation_request%rowtype;
  lead public.inquiry%rowtype;
  taken integer;
  moment timestamptz;
  taking boolean;
begin
  if tg_op = 'INSERT' then
    if new.state not in ('HELD', 'BOOKED') then
      perform public.refuse('409', 'ILLEGAL_TRANSITION', format('A new appointment is HELD or BOOKED, not %s.', new.state),
        jsonb_build_object('entity', 'appointment', 'current_state', null, 'requested_state', new.state, 'allowed_transitions', jsonb_build_array('BOOKED', 'HELD')));
    end if;
    taking := true;
  else
    if old.state <> 'HELD' and (new.inquiry_id, new.slot_id, new.appraiser_id, new.starts_at, new.ends_at)
         is distinct from (old.inquiry_id, old.slot_id, old.appraiser_id, old.starts_at, old.ends_at) then
      perform public.refuse('409', 'APPOINTMENT_FIXED', 'A booked visit is moved by rescheduling it: the new time is a new appointment.');
    end if;
    if old.state in ('COMPLETED', 'CANCELLED', 'RESCHEDULED', 'NO_SHOW')
       and (new.category_ids, new.address_id, new.solicitation_request_id, new.cancelled_by, new.cancel_reason, new.rescheduled_to, new.door_confirmed_at)
         is distinct from (old.category_ids, old.address_id, old.solicitation_request_id, old.cancelled_by, old.cancel_reason, old.rescheduled_to, old.door_confirmed_at) then
      perform public.refuse('409', 'APPOINTMENT_FIXED', 'A visit that is over is not rewritten; its notes may be.', jsonb_build_object('current_state', old.state));
    end if;
    taking := old.state = 'HELD' and (new.state = 'BOOKED' or new.state = 'HELD'
      and (new.inquiry_id, new.slot_id, new.appraiser_id, new.starts_at, new.ends_at, new.category_ids, new.hold_expires_at)
        is distinct from (old.inquiry_id, old.slot_id, old.appraiser_id, old.starts_at, old.ends_at, old.category_ids, old.hold_expires_at));
  end if;

  if tg_op = 'INSERT' or (new.customer_id, new.inquiry_id) is distinct from (old.customer_id, old.inquiry_id) or taking then
    select * into lead from public.inquiry i where i.id = new.inquiry_id and i.deleted_at is null;
    if not found or lead.customer_id <> new.customer_id then
      perform public.refuse('422', 'INQUIRY_NOT_OF_CUSTOMER', 'The inquiry is not one of this customer.',
        jsonb_build_object('inquiry_id', new.inquiry_id, 'customer_id', new.customer_id));
    end if;
    if taking and lead.stage not in ('NEW', 'IN_PROGRESS', 'NURTURING', 'APPOINTED') then
      perform public.refuse_transition('inquiry', lead.stage, 'APPOINTED');
    end if;
  end if;
  -- A refusal after the booking: the visit may be called off, and nothing else.
  if tg_op = 'UPDATE' and new.state <> old.state and new.state in ('BOOKED', 'CONFIRMED', 'EN_ROUTE', 'ARRIVED') or tg_op = 'INSERT' or taking
     or tg_op = 'UPDATE' and new.customer_id <> old.customer_id and new.state in ('HELD', 'BOOKED', 'CONFIRMED', 'EN_ROUTE', 'ARRIVED') then
    perform public.assert_not_banned(new.customer_id);
  end if;

  -- Taking a place: at the start, when a hold takes another one, and when a hold becomes a booking.
  if taking then
    select * into slot from public.visit_slot s where s.id = new.slot_id for update;      -- bookings of a slot come one after another
    if not found or slot.deleted_at is not null then
      perform public.refuse('422', 'SLOT_NOT_FOUND', 'There is no such visit slot; choose another one.', jsonb_build_object('slot_id', new.slot_id));
    end if;
    -- Holds are compared with the clock after the lock, not with the start of the transaction: whoever waited for the lock sees the
    -- same holds expired as the one who had it before, or more.
    moment := clock_timestamp();
    if tg_op = 'UPDATE' and old.hold_expires_at <= moment then
      perform public.refuse('409', 'HOLD_EXPIRED', 'The hold on this slot has expired; hold it again.', jsonb_build_object('hold_expires_at', old.hold_expires_at));
    end if;
    if new.state = 'HELD' then
      new.hold_expires_at := least(new.hold_expires_at, moment + (public.rule_value('appointment_hold_seconds') #>> '{}')::integer * interval '1 second');
    end if;
    if new.starts_at < slot.starts_at or new.ends_at > slot.ends_at then
      perform public.refuse('422', 'OUTSIDE_SLOT', 'The visit must lie within its slot.', jsonb_build_object('slot_starts_at', slot.starts_at, 'slot_ends_at', slot.ends_at));
    end if;
    if new.starts_at <= now() then
      perform public.refuse('422', 'SLOT_IN_THE_PAST', 'A visit is booked for a time to come.', jsonb_build_object('starts_at', new.starts_at));
    end if;
    perform public.assert_contact_hours(new.starts_at);
    perform public.assert_contact_hours(new.ends_at - interval '1 microsecond');
    -- A constraint does not know the time: whoever wants the place lets expired holds go. One that somebody else has in hand at this
    -- moment is left to them, for waiting here would be against the order of locks; the count below does without it all the same.
    update public.appointment a set state = 'CANCELLED', cancelled_by = 'SYSTEM', cancel_reason = 'hold expired', hold_expires_at = null
     where a.id in (select x.id from public.appointment x where x.state = 'HELD' and x.hold_expires_at <= moment and x.id <> new.id
                       and (x.slot_id = new.slot_id or x.appraiser_id = new.appraiser_id or x.inquiry_id = new.inquiry_id) for update skip locked);
    select count(*) into taken from public.appointment a
     where a.slot_id = new.slot_id and a.id <> new.id and a.state in ('HELD', 'BOOKED', 'CONFIRMED', 'EN_ROUTE', 'ARRIVED')
       and (a.state <> 'HELD' or a.hold_expires_at > moment);
    if taken >= slot.capacity then
      perform public.refuse('409', 'SLOT_FULL', 'This slot is full; choose another one.', jsonb_build_object('slot_id', new.slot_id, 'capacity', slot.capacity));
    end if;
    if not public.appraiser_works(new.appraiser_id, new.starts_at, new.ends_at) and exists (select from public.appraiser w where w.id = new.appraiser_id) then
      perform public.refuse('422', 'APPRAISER_OFF_DUTY', 'The appraiser does not work at that time.', jsonb_build_object('appraiser_id', new.appraiser_id));
    end if;
  end if;

  if taking or new.state in ('HELD', 'BOOKED', 'CONFIRMED', 'EN_ROUTE', 'ARRIVED') and new.category_ids <> old.category_ids then
    select * into worker from public.appraiser w where w.id = new.appraiser_id;
    if not found or not worker.active or worker.deleted_at is not null then
      perform public.refuse('422', 'APPRAISER_NOT_FOUND', 'There is no such appraiser at work.', jsonb_build_object('appraiser_id', new.appraiser_id));
    end if;
    if taking and worker.area_ids <> '{}' and not slot.service_area_id = any (worker.area_ids) then
      perform public.refuse('422', 'APPRAISER_OUT_OF_AREA', 'The appraiser does not work in that area.', jsonb_build_object('appraiser_id', new.appraiser_id));
    end if;
    if worker.skills <> '{}' and not new.category_ids <@ worker.skills then
      perform public.refuse('422', 'APPRAISER_LACKS_SKILL', 'The appraiser does not appraise all of these categories.', jsonb_build_object('appraiser_id', new.appraiser_id));
    end if;
  end if;

  -- What the law asks for: at the booking, and when a booked visit gets another request, address or other categories.
  if new.state in ('BOOKED', 'CONFIRMED', 'EN_ROUTE', 'ARRIVED') and (tg_op = 'INSERT' or old.state = 'HELD'
       or (new.category_ids, new.solicitation_request_id, new.address_id) is distinct from (old.category_ids, old.solicitation_request_id, old.address_id)) then
    select * into request from public.solicitation_request r
     where r.id = new.solicitation_request_id and r.inquiry_id = new.inquiry_id and r.customer_id = new.customer_id and r.deleted_at is null;
    if not found then
      perform public.refuse('422', 'NO_SOLICITATION_REQUEST', 'A visit needs the customer''s own request, with its words and categories; record it first.', jsonb_build_object('inquiry_id', new.inquiry_id));
    end if;
    if request.disclosed_at is null then
      perform public.refuse('422', 'DISCLOSURE_MISSING', 'Company name, purpose and item types must be stated before soliciting; confirm that they were.');
    end if;
    if request.willingness_confirmed_at is null then
      perform public.refuse('422', 'WILLINGNESS_UNCONFIRMED', 'Confirm on the call that the customer wants to be visited.');
    end if;
    if new.category_ids = '{}' or not new.category_ids <@ request.category_ids then
      perform public.refuse('422', 'CATEGORY_NOT_REQUESTED', 'A visit covers only what the customer asked for.', jsonb_build_object('requested_categories', to_jsonb(request.category_ids)));
    end if;
    if new.address_id is null or not exists (select from public.customer_address a where a.id = new.address_id and a.customer_id = new.customer_id and a.deleted_at is null) then
      perform public.refuse('422', 'ADDRESS_REQUIRED', 'A visit needs one of the customer''s addresses.');
    end if;
  end if;
  if new.state = 'COMPLETED' and (tg_op = 'INSERT' or old.state <> 'COMPLETED') and new.door_confirmed_at is null then
    perform public.refuse('422', 'WILLINGNESS_UNCONFIRMED', 'Confirm that the customer said at the door that they want the visit.');
  end if;
  if new.state <> 'HELD' then new.hold_expires_at := null; end if;
  return new;
end $$;

-- A slot keeps what was promised in it. The row lock of this update makes bookings of the slot wait, and count again afterwards.
create function visit_slot_rules() returns trigger language plpgsql as $$
declare
  taken integer;
begin
  if (new.service_area_id, new.starts_at, new.ends_at, new.deleted_at) is not distinct from (old.service_area_id, old.starts_at, old.ends_at, old.deleted_at)
     and new.capacity >= old.capacity then
    return new;
  end if;
  select count(*) into taken from public.appointment a
   where a.slot_id = new.id and a.state in ('HELD', 'BOOKED', 'CONFIRMED', 'EN_ROUTE', 'ARRIVED') and (a.state <> 'HELD' or a.hold_expires_at > clock_timestamp());
  if taken > new.capacity or taken > 0 and (new.service_area_id, new.starts_at, new.ends_at, new.deleted_at) is distinct from (old.service_area_id, old.starts_at, old.ends_at, old.deleted_at) then
    perform public.refuse('409', 'SLOT_HAS_APPOINTMENTS', format('%s visits are promised in this slot; reschedule them first.', taken), jsonb_build_object('taken', taken));
  end if;
  return new;
end $$;

create trigger c_rules before update on visit_slot for each row execute function visit_slot_rules();
create trigger c_rules before insert or update on appointment for each row execute function appointment_rules();
create trigger d_transition before update of state on appointment for each row execute function check_transition('appointment', 'state');
select make_business_table('service_area', 'visit', 'service_area');
select make_business_table('service_area_postal', 'visit', '', 'service_area_id', false);
select make_business_table('appraiser', 'visit', 'appraiser');
select make_business_table('appraiser_hours', 'visit', '');
select make_business_table('visit_slot', 'visit', 'visit_slot');
select make_business_table('appointment', 'visit', 'appointment');

-- What can be done with an appointment ------------------------------------------------------------------------------------------------
-- Functions, so that a booking is one statement wherever it is made: by the API of visits, or at the end of a call, in its transaction:
--
--   select b.id, b.version from take_appointment('BOOKED', $id, $inquiry, $slot, $appraiser, $address, $request, $categories,
--                                                $starts_at, $ends_at, $notes, $owner, $team) b
--
-- Each raises what it refuses (EN4xx), also APPRAISER_BOOKED, INQUIRY_HAS_APPOINTMENT and ID_TAKEN. Scope: on whose records the caller
-- may do it; 'all' where that was settled before. They run with the caller's rights.

-- Whether a record of that owner and team, or a visit of that appraiser, is within the caller's scope.
create function appointment_in_scope(a appointment, scope text, who uuid, teams uuid[]) returns boolean language sql stable as $$
  select scope = 'all' or a.owner_id = who or scope = 'team' and a.team_id = any (teams)
      or exists (select from public.appraiser w where w.id = a.appraiser_id and w.user_id = who)
$$;

create function find_appointment(wanted uuid, scope text, who uuid, teams uuid[]) returns appointment language plpgsql as $$
declare
  a public.appointment%rowtype;
begin
  select * into a from public.appointment x where x.id = wanted;
  if not found or not public.appointment_in_scope(a, scope, who, teams) then
    perform public.refuse('404', 'NOT_FOUND', 'There is no such appointment.', jsonb_build_object('appointment_id', wanted));
  end if;
  return a;
end $$;

-- When the customer is called before a visit: the day before at the rule's hour; if that is over, in the morning of the day; else not at all,
-- for the call that made the booking was shortly before.
create function pre_visit_call_due(starts timestamptz) returns timestamptz language plpgsql stable as $$
declare
  tz text := public.rule_value('business_time_zone') #>> '{}';
  day date := (starts at time zone tz)::date;
  hours jsonb := public.rule_value('contact_hours', starts);
  at_time time := (public.rule_value('pre_visit_call_at', starts) #>> '{}')::time;
  due timestamptz;
begin
  at_time := greatest((hours ->> 'from')::time, least(at_time, (hours ->> 'to')::time - interval '1 hour'));
  due := (day - 1 + at_time) at time zone tz;
  if due > now() + interval '1 hour' then return due; end if;
  due := (day + (hours ->> 'from')::time) at time zone tz + interval '30 minutes';
  if due > now() + interval '1 hour' and due < starts - interval '1 hour' then return due; end if;
  return null;
end $$;

-- What a booking does besides: the inquiry is APPOINTED, calls that wait to win the customer are off, the call before the visit is planned.
create function appointment_booked(a appointment) returns void language plpgsql as $$
declare
  due timestamptz := public.pre_visit_call_due(a.starts_at);
begin
  update public.inquiry i set stage = 'APPOINTED', next_action = 'VISIT', next_action_at = a.starts_at where i.id = a.inquiry_id;
  update public.call_task t set state = 'CANCELLED' where t.inquiry_id = a.inquiry_id and t.state in ('SCHEDULED', 'READY') and t.kind <> 'PRE_VISIT';
  if due is not null then
    insert into public.call_task (id, customer_id, inquiry_id, appointment_id, kind, state, priority, due_at, team_id)
    select public.new_id(), a.customer_id, a.inquiry_id, a.id, 'PRE_VISIT', 'SCHEDULED', public.task_priority('PRE_VISIT', i.media_source_id), due, a.team_id
      from public.inquiry i where i.id = a.inquiry_id;
  end if;
end $$;

-- Holds or books ('HELD', 'BOOKED') a place. Null starts/ends: the whole slot. The same id with the same content again gives what is there.
create function take_appointment(wanted_state text, wanted_id uuid, inquiry uuid, slot uuid, appraiser uuid, address uuid, request uuid, categories uuid[],
    starts timestamptz, ends timestamptz, wanted_notes text, owner uuid, team uuid) returns appointment language plpgsql as $$
declare
  a public.appointment%rowtype;
  lead public.inquiry%rowtype;
  place public.visit_slot%rowtype;
  broken text;
begin
  select * into lead from public.inquiry i where i.id = inquiry and i.deleted_at is null;
  if not found then
    perform public.refuse('422', 'INQUIRY_NOT_FOUND', 'There is no such inquiry.', jsonb_build_object('inquiry_id', inquiry));
  end if;
  select * into place from public.visit_slot s where s.id = slot and s.deleted_at is null;
  if not found then
    perform public.refuse('422', 'SLOT_NOT_FOUND', 'There is no such visit slot; choose another one.', jsonb_build_object('slot_id', slot));
  end if;
  select * into a from public.appointment x where x.id = wanted_id;
  if found then
    if (a.inquiry_id, a.slot_id, a.appraiser_id, a.starts_at, a.ends_at, a.owner_id)
         is not distinct from (inquiry, slot, appraiser, coalesce(starts, place.starts_at), coalesce(ends, place.ends_at), owner) then
      return a;
    end if;
    perform public.refuse('409', 'ID_TAKEN', 'Another appointment has this id; make a new one.', jsonb_build_object('id', wanted_id));
  end if;
  if not exists (select from public.appraiser w where w.id = appraiser) then
    perform public.refuse('422', 'APPRAISER_NOT_FOUND', 'There is no such appraiser at work.', jsonb_build_object('appraiser_id', appraiser));
  end if;
  begin
    insert into public.appointment (id, customer_id, inquiry_id, slot_id, appraiser_id, address_id, solicitation_request_id, category_ids, state,
                                    starts_at, ends_at, hold_expires_at, notes, owner_id, team_id)
    values (wanted_id, lead.customer_id, inquiry, slot, appraiser, address, request, coalesce(categories, '{}'), wanted_state,
            coalesce(starts, place.starts_at), coalesce(ends, place.ends_at), case when wanted_state = 'HELD' then 'infinity'::timestamptz end,
            coalesce(wanted_notes, ''), owner, coalesce(team, lead.team_id))
    returning * into a;
  exception when exclusion_violation or unique_violation then
    get stacked diagnostics broken = constraint_name;
    if broken = 'appraiser_double_booked' and not exists (select from public.appointment x where x.inquiry_id = inquiry and x.state in ('HELD', 'BOOKED', 'CONFIRMED', 'EN_ROUTE', 'ARRIVED')) then
      perform public.refuse('409', 'APPRAISER_BOOKED', 'The appraiser has another visit at that time; choose another appraiser or time.', jsonb_build_object('appraiser_id', appraiser));
    elsif broken in ('appointment_one_live', 'appraiser_double_booked') then
      perform public.refuse('409', 'INQUIRY_HAS_APPOINTMENT', 'This inquiry has a visit already; reschedule or cancel that one.',
        jsonb_build_object('appointment_id', (select x.id from public.appointment x where x.inquiry_id = inquiry and x.state in ('HELD', 'BOOKED', 'CONFIRMED', 'EN_ROUTE', 'ARRIVED') limit 1)));
    elsif broken = 'appointment_pkey' then
      perform public.refuse('409', 'ID_TAKEN', 'Another appointment has this id; make a new one.', jsonb_build_object('id', wanted_id));
    end if;
    raise;
  end;
  if wanted_state = 'BOOKED' then perform public.appointment_booked(a); end if;
  return a;
end $$;

-- HELD becomes BOOKED; null keeps what the hold has. The slot is locked before the appointment, as everywhere.
create function book_held_appointment(wanted uuid, address uuid, request uuid, categories uuid[], scope text, who uuid, teams uuid[]) returns appointment language plpgsql as $$
declare
  a public.appointment%rowtype := public.find_appointment(wanted, scope, who, teams);
begin
  perform public.lock_contact_keys(a.customer_id, false);
  perform from public.visit_slot s where s.id = a.slot_id for update;
  select * into a from public.appointment x where x.id = wanted;
  if a.state = 'CANCELLED' and a.cancelled_by = 'SYSTEM' and a.cancel_reason = 'hold expired' then
    perform public.refuse('409', 'HOLD_EXPIRED', 'The hold on this slot has expired; hold it again.');
  end if;
  if a.state <> 'HELD' then perform public.refuse_transition('appointment', a.state, 'BOOKED'); end if;
  update public.appointment x set state = 'BOOKED', hold_expires_at = null, address_id = coalesce(address, x.address_id),
         solicitation_request_id = coalesce(request, x.solicitation_request_id), category_ids = coalesce(categories, x.category_ids)
   where x.id = wanted returning * into a;
  perform public.appointment_booked(a);
  return a;
end $$;

-- CONFIRMED, EN_ROUTE, ARRIVED, COMPLETED. At the end the inquiry is VISITED.
create function advance_appointment(wanted uuid, to_state text, door_confirmed boolean, scope text, who uuid, teams uuid[]) returns appointment language plpgsql as $$
declare
  a public.appointment%rowtype := public.find_appointment(wanted, scope, who, teams);
begin
  if a.state = to_state or to_state not in ('CONFIRMED', 'EN_ROUTE', 'ARRIVED', 'COMPLETED') then
    perform public.refuse_transition('appointment', a.state, to_state);
  end if;
  perform public.lock_contact_keys(a.customer_id, false);
  update public.appointment x set state = to_state, door_confirmed_at = case when to_state = 'COMPLETED' and door_confirmed then now() else x.door_confirmed_at end
   where x.id = wanted returning * into a;
  update public.call_task t set state = 'CANCELLED' where t.appointment_id = wanted and t.kind = 'PRE_VISIT' and t.state in ('SCHEDULED', 'READY');
  if to_state = 'COMPLETED' then
    update public.inquiry i set stage = 'VISITED', next_action = 'NONE', next_action_at = null where i.id = a.inquiry_id;
  end if;
  return a;
end $$;

-- CANCELLED or NO_SHOW: the inquiry goes back to NURTURING, and somebody calls: `call_kind` NURTURE or FOLLOW_UP at `call_due`. A hold has done
-- nothing to its inquiry, so letting it go does nothing either. If the inquiry has an open call already, that one is moved instead of a second made.
create function end_appointment(wanted uuid, to_state text, ended_by text, reason text, call_kind text, call_due timestamptz, scope text, who uuid, teams uuid[])
returns appointment language plpgsql as $$
declare
  a public.appointment%rowtype := public.find_appointment(wanted, scope, who, teams);
  was text := a.state;
begin
  if a.state = to_state or to_state not in ('CANCELLED', 'NO_SHOW') then
    perform public.refuse_transition('appointment', a.state, to_state);
  end if;
  if was <> 'HELD' and call_due is null then
    perform public.refuse('422', 'NEXT_CALL_REQUIRED', 'Say when the customer is called next: next_call with kind and due_at.',
      jsonb_build_object('errors', jsonb_build_array(jsonb_build_object('pointer', '/next_call', 'code', 'REQUIRED', 'detail', 'required'))));
  end if;
  perform public.lock_contact_keys(a.customer_id, false);
  update public.appointment x set state = to_state, hold_expires_at = null,
         cancelled_by = case when to_state = 'CANCELLED' then ended_by end, cancel_reason = case when to_state = 'CANCELLED' then reason end
   where x.id = wanted and x.state = was returning * into a;
  if not found then perform public.refuse('409', 'CHANGED_MEANWHILE', 'Somebody changed this visit at the same moment; look again.'); end if;
  if was = 'HELD' then return a; end if;
  update public.call_task t set state = 'CANCELLED', assigned_to = null, lease_expires_at = null
   where t.appointment_id = wanted and t.kind = 'PRE_VISIT' and t.state in ('SCHEDULED', 'READY', 'ASSIGNED', 'BLOCKED');
  update public.inquiry i set stage = 'NURTURING', next_action = case call_kind when 'FOLLOW_UP' then 'CALL' else 'NURTURE_CALL' end, next_action_at = call_due
   where i.id = a.inquiry_id and i.stage in ('APPOINTED', 'NURTURING', 'IN_PROGRESS');
  update public.call_task t set due_at = call_due, kind = call_kind, state = 'SCHEDULED'
   where t.inquiry_id = a.inquiry_id and t.kind <> 'PRE_VISIT' and t.state in ('SCHEDULED', 'READY');
  insert into public.call_task (id, customer_id, inquiry_id, kind, state, priority, due_at, owner_id, team_id, note)
  select public.new_id(), a.customer_id, a.inquiry_id, call_kind, 'SCHEDULED', public.task_priority(call_kind, i.media_source_id), call_due, i.owner_id, coalesce(i.team_id, a.team_id),
         left(coalesce(reason, ''), 1000)
    from public.inquiry i
   where i.id = a.inquiry_id and not exists (select from public.call_task t where t.inquiry_id = i.id and t.kind <> 'PRE_VISIT'
           and t.state in ('SCHEDULED', 'READY', 'ASSIGNED', 'IN_CALL', 'WRAP_UP', 'BLOCKED'));
  return a;
end $$;

-- The old one becomes RESCHEDULED, the new one BOOKED, or nothing happens; also into its own old place. Null keeps what the old one has.
create function reschedule_appointment(wanted uuid, new_appointment uuid, slot uuid, appraiser uuid, address uuid, request uuid, categories uuid[], starts timestamptz, ends timestamptz,
    owner uuid, scope text, who uuid, teams uuid[]) returns appointment language plpgsql as $$
declare
  a public.appointment%rowtype := public.find_appointment(wanted, scope, who, teams);
begin
  if a.state = 'RESCHEDULED' and a.rescheduled_to = new_appointment then      -- the same request again
    select * into a from public.appointment x where x.id = new_appointment;
    return a;
  end if;
  if exists (select from public.appointment x where x.id = new_appointment) then
    perform public.refuse('409', 'ID_TAKEN', 'Another appointment has this id; make a new one.', jsonb_build_object('id', new_appointment));
  end if;
  if a.state not in ('BOOKED', 'CONFIRMED') then perform public.refuse_transition('appointment', a.state, 'RESCHEDULED'); end if;
  perform public.lock_contact_keys(a.customer_id, false);
  perform from public.visit_slot s where s.id = slot for update;
  update public.appointment x set state = 'RESCHEDULED', rescheduled_to = new_appointment where x.id = wanted;
  update public.call_task t set state = 'CANCELLED', assigned_to = null, lease_expires_at = null
   where t.appointment_id = wanted and t.kind = 'PRE_VISIT' and t.state in ('SCHEDULED', 'READY', 'ASSIGNED', 'BLOCKED');
  return public.take_appointment('BOOKED', new_appointment, a.inquiry_id, slot, coalesce(appraiser, a.appraiser_id), coalesce(address, a.address_id),
    coalesce(request, a.solicitation_request_id), coalesce(categories, a.category_ids), starts, ends, a.notes, owner, a.team_id);
end $$;

-- An inquiry does not leave APPOINTED for NURTURING while its visit stands.
create function inquiry_keeps_appointment() returns trigger language plpgsql as $$
begin
  if new.stage <> 'NURTURING' or old.stage <> 'APPOINTED' then return new; end if;
  if exists (select from public.appointment a where a.inquiry_id = new.id and a.state in ('BOOKED', 'CONFIRMED', 'EN_ROUTE', 'ARRIVED')) then
    perform public.refuse('409', 'INQUIRY_HAS_APPOINTMENT', 'This inquiry has a visit; cancel the visit, and the inquiry goes back to nurturing.');
  end if;
  return new;
end $$;
create trigger e_appointment before update of stage on inquiry for each row execute function inquiry_keeps_appointment();

-- An appointment as the API gives it. Volatile, so that it sees what the statement around it has just done.
create function appointment_json(wanted uuid) returns json language sql volatile as $$
  select json_build_object('id', a.id, 'customer_id', a.customer_id, 'inquiry_id', a.inquiry_id, 'slot_id', a.slot_id, 'appraiser_id', a.appraiser_id,
    'address_id', a.address_id, 'solicitation_request_id', a.solicitation_request_id, 'category_ids', a.category_ids, 'state', a.state,
    'starts_at', a.starts_at, 'ends_at', a.ends_at, 'hold_expires_at', a.hold_expires_at, 'cancelled_by', a.cancelled_by, 'cancel_reason', a.cancel_reason,
    'rescheduled_to', a.rescheduled_to, 'rescheduled_from', (select f.id from public.appointment f where f.inquiry_id = a.inquiry_id and f.rescheduled_to = a.id),
    'door_confirmed_at', a.door_confirmed_at, 'notes', a.notes, 'owner_id', a.owner_id, 'team_id', a.team_id, 'version', a.version,
    'created_at', a.created_at, 'updated_at', a.updated_at,
    'customer_name', c.display_name, 'customer_kana', c.kana, 'customer_flags', c.flags, 'appraiser_name', w.display_name,
    'service_area_id', s.service_area_id, 'service_area_name', r.name, 'inquiry_stage', i.stage,
    'address', (select json_build_object('postal_code', d.postal_code, 'prefecture', d.prefecture, 'city', d.city, 'town', d.town, 'street', d.street, 'building', d.building)
                  from public.customer_address d where d.id = a.address_id),
    'solicitation_request', (select json_build_object('id', q.id, 'scope', q.scope, 'category_ids', q.category_ids, 'verbatim', q.verbatim, 'requested_at', q.requested_at)
                  from public.solicitation_request q where q.id = a.solicitation_request_id),
    'allowed_transitions', coalesce((select json_agg(t.to_state order by t.to_state) from public.transition t where t.entity = 'appointment' and t.from_state = a.state), '[]'))
    from public.appointment a
    join public.customer c on c.id = a.customer_id
    join public.inquiry i on i.id = a.inquiry_id
    join public.appraiser w on w.id = a.appraiser_id
    join public.visit_slot s on s.id = a.slot_id
    join public.service_area r on r.id = s.service_area_id
   where a.id = wanted
$$;
