-- What is promised is kept: a visit lies in the area of its address, an inquiry that goes on has something to come and a task for it, the first call
-- comes within the rule's time, and nothing begins with a customer who is hidden or has no number.

-- A visit goes to an address of its slot's area. Asked when a place is taken or held, and when slot or address change; areas that are drawn anew move no
-- visit that is booked. Whether it is the mirror's row is asked only before refusing (docs/adr/0010).
create function appointment_area() returns trigger language plpgsql as $$
declare
  code text;
  home uuid;
  there uuid;
begin
  if new.address_id is null or new.state not in ('HELD', 'BOOKED', 'CONFIRMED', 'EN_ROUTE', 'ARRIVED') then return new; end if;
  if tg_op = 'UPDATE' then
    if old.state <> 'HELD' and (new.slot_id, new.address_id) is not distinct from (old.slot_id, old.address_id) then return new; end if;
  end if;
  select a.postal_code into code from public.customer_address a where a.id = new.address_id;
  select s.service_area_id into there from public.visit_slot s where s.id = new.slot_id;
  home := public.area_of_postal_code(code);
  if home is not distinct from there or public.mirroring() or public.erasing() then return new; end if;
  perform public.refuse('422', 'ADDRESS_OUT_OF_AREA', case
    when code is null then 'This address has no postal code, which says its service area; add it first.'
    when home is null then format('No service area covers the postal code %s of this address.', code)
    else 'This address lies in another service area than the slot; choose a slot of its own area.' end,
    jsonb_build_object('address_id', new.address_id, 'service_area_id', home, 'slot_service_area_id', there));
  return null;
end $$;
create trigger cb_area before insert or update on appointment for each row execute function appointment_area();

-- An inquiry that goes on has something to come, and WAIT a moment to look again.
create function inquiry_next_action() returns trigger language plpgsql as $$
declare
  pointer text;
  detail text;
begin
  if new.stage not in ('IN_PROGRESS', 'NURTURING') then return new; end if;
  if tg_op = 'UPDATE' then
    if (new.stage, new.next_action, new.next_action_at) is not distinct from (old.stage, old.next_action, old.next_action_at) then return new; end if;
  end if;
  if new.next_action in ('NONE', 'VISIT') then
    pointer := '/next_action'; detail := format('an inquiry that is %s is called, or waits for a day', new.stage);
  elsif new.next_action = 'WAIT' and new.next_action_at is null then
    pointer := '/next_action_at'; detail := 'say until when';
  else
    return new;
  end if;
  if public.mirroring() then return new; end if;
  perform public.refuse('422', 'NEXT_ACTION_REQUIRED', 'An inquiry that goes on has a next action: say what happens next, and when.',
    jsonb_build_object('errors', jsonb_build_array(jsonb_build_object('pointer', pointer, 'code', 'NEXT_ACTION_REQUIRED', 'detail', detail))));
  return null;
end $$;
create trigger e_next_action before insert or update of stage, next_action, next_action_at on inquiry for each row execute function inquiry_next_action();

-- The call that an edit or a move of an inquiry promises: its open call is moved to that moment, out of the hands of whoever holds it without being on the
-- phone; without one, a new one is made. A call that is going on is left alone, for its end says what comes next. Null when no call is promised. SCHEDULED
-- even when it is due already: one that is READY at once would take the ban's locks behind the inquiry's row; it becomes READY within a second.
-- Nothing for an inquiry of a legacy system, whose edit is told there as one record (docs/adr/0009): what it promises is that system's to keep.
create function promise_call(wanted uuid, promised boolean) returns uuid language plpgsql as $$
declare
  i public.inquiry%rowtype;
  wanted_kind text;
  task uuid;
begin
  if not promised or coalesce(current_setting('enishi.through', true), '') <> '' then return null; end if;
  select * into i from public.inquiry x where x.id = wanted;
  wanted_kind := case i.next_action when 'CALL' then 'FOLLOW_UP' when 'CALLBACK' then 'CALLBACK' when 'NURTURE_CALL' then 'NURTURE' end;
  if wanted_kind is null or i.stage not in ('NEW', 'IN_PROGRESS', 'NURTURING', 'APPOINTED', 'VISITED') then return null; end if;
  if i.next_action_at is null then
    if i.next_action = 'CALL' then return null; end if;
    perform public.refuse('422', 'NEXT_ACTION_REQUIRED', 'A call that is promised has its moment: say when.',
      jsonb_build_object('errors', jsonb_build_array(jsonb_build_object('pointer', '/next_action_at', 'code', 'NEXT_ACTION_REQUIRED', 'detail', 'required'))));
  end if;
  update public.call_task t
     set kind = k.kind, priority = public.task_priority(k.kind, i.media_source_id), due_at = i.next_action_at,
         state = case when t.state = 'BLOCKED' then 'BLOCKED' else 'SCHEDULED' end, assigned_to = null, lease_expires_at = null
    from (select x.id, case when x.kind = 'FIRST_CALL' and i.next_action = 'CALL' then x.kind else wanted_kind end as kind from public.call_task x
           where x.inquiry_id = wanted and x.kind <> 'PRE_VISIT' and x.state in ('SCHEDULED', 'READY', 'ASSIGNED', 'BLOCKED')) k
   where t.id = k.id and t.state in ('SCHEDULED', 'READY', 'ASSIGNED', 'BLOCKED') and (t.kind, t.due_at) is distinct from (k.kind, i.next_action_at)
  returning t.id into task;
  if task is not null then return task; end if;
  insert into public.call_task (id, customer_id, inquiry_id, kind, state, priority, due_at, owner_id, team_id)
  select public.new_id(), i.customer_id, i.id, wanted_kind, 'SCHEDULED', public.task_priority(wanted_kind, i.media_source_id), i.next_action_at, i.owner_id, i.team_id
   where not exists (select from public.call_task t where t.inquiry_id = wanted and t.kind <> 'PRE_VISIT'
                        and t.state in ('SCHEDULED', 'READY', 'ASSIGNED', 'IN_CALL', 'WRAP_UP', 'BLOCKED'))
  returning id into task;
  return task;
end $$;

-- Until when the first call to a lead is made: the rule first_call_seconds after it came in.
create function first_call_due(received timestamptz default now()) returns timestamptz language plpgsql stable as $$
begin
  return least(received, now()) + (public.rule_value('first_call_seconds') #>> '{}')::integer * interval '1 second';
end $$;

-- Hidden customers -------------------------------------------------------------------------------------------------------

-- Whoever hides a customer takes this lock first, and looks in a later statement whether there is work to come; whoever begins something with them shares
-- it. So of two at the same moment the second sees the first. Not the ban's keys, which must be taken before any row is locked.
create function lock_to_hide(customer uuid) returns void language sql as $$
  select pg_advisory_xact_lock(hashtextextended('hide' || customer::text, 11))
$$;
create function assert_living(customer uuid) returns void language plpgsql as $$
begin
  perform pg_advisory_xact_lock_shared(hashtextextended('hide' || customer::text, 11));
  if not exists (select from public.customer c where c.id = customer and c.deleted_at is not null) or public.erasing() then return; end if;
  perform public.refuse('409', 'CUSTOMER_HIDDEN', 'This customer is hidden, or was merged into another one: nothing new begins with them.',
    jsonb_build_object('customer_id', customer, 'living_customer_id', nullif(public.living_customer(customer), customer)));
end $$;
create function customer_is_living() returns trigger language plpgsql as $$
begin
  perform public.assert_living(new.customer_id);
  return new;
end $$;
do $$
begin
  execute format('create trigger ca_living before insert or update of customer_id on inquiry for each row when (%s) execute function customer_is_living()', when_not_mirroring());
  execute format('create trigger ca_living before insert or update of customer_id on appointment for each row when (%s) execute function customer_is_living()', when_not_mirroring());
end $$;

-- As in 0006, and: not for a hidden customer.
create or replace function call_task_rules() returns trigger language plpgsql as $$
declare
  ban uuid;
  stage_now text;
begin
  if tg_op = 'INSERT' then
    if new.inquiry_id is not null then
      select i.stage into stage_now from public.inquiry i where i.id = new.inquiry_id and i.customer_id = new.customer_id;
    end if;
    if new.inquiry_id is not null and stage_now is null then
      perform public.refuse('422', 'INQUIRY_NOT_OF_CUSTOMER', 'The inquiry is not one of this customer.',
        jsonb_build_object('inquiry_id', new.inquiry_id, 'customer_id', new.customer_id));
    end if;
    if new.inquiry_id is null and not exists (select from public.customer c where c.id = new.customer_id) then
      perform public.refuse('422', 'CUSTOMER_UNKNOWN', 'There is no such customer.', jsonb_build_object('customer_id', new.customer_id));
    end if;
    if new.state not in ('DONE', 'RESCHEDULED', 'CANCELLED', 'BLOCKED') then
      perform public.assert_living(new.customer_id);
      if new.state <> 'SCHEDULED' then perform public.lock_contact_keys(new.customer_id, false); end if;
      if stage_now in ('LOST', 'INVALID') then
        perform public.refuse('409', 'INQUIRY_ENDED', format('This inquiry is %s: nobody is called for it. A new contact is a new inquiry.', stage_now),
          jsonb_build_object('inquiry_id', new.inquiry_id, 'current_state', stage_now));
      end if;
      ban := public.active_ban(new.customer_id);
      if ban is not null and new.inquiry_id is not null then
        -- A lead and its first task in one statement: the lead's own trigger, which lifts bans, has not run yet.
        perform public.lift_bans_of(i) from public.inquiry i where i.id = new.inquiry_id and i.customer_id = new.customer_id and i.created_at = now();
        ban := public.active_ban(new.customer_id);
      end if;
      if ban is not null then
        new.state := 'BLOCKED';
        new.blocked_reason := 'RESOLICITATION_BANNED';
        new.assigned_to := null;
        new.lease_expires_at := null;
      end if;
    end if;
  elsif new.state <> old.state then
    if new.state in ('READY', 'ASSIGNED') or new.state = 'SCHEDULED' and old.state = 'BLOCKED' then
      if old.state = 'BLOCKED' then perform public.assert_living(new.customer_id); end if;
      ban := public.active_ban(new.customer_id);
      if ban is not null then
        if old.state = 'BLOCKED' then
          perform public.refuse('409', 'RESOLICITATION_BANNED',
            'This customer, phone or address must not be solicited again. A new inquiry by the customer, or compliance with a reason, lifts the ban.',
            jsonb_build_object('ban_id', ban, 'customer_id', new.customer_id));
        end if;
        new.state := 'BLOCKED';
        new.blocked_reason := 'RESOLICITATION_BANNED';
        new.assigned_to := null;
        new.lease_expires_at := null;
      end if;
    end if;
    if new.state <> 'BLOCKED' then new.blocked_reason := null; end if;
  end if;
  -- How many tasks one operator may hold is a rule; two tabs that claim at once come one after the other.
  if new.state = 'ASSIGNED' and (tg_op = 'INSERT' or old.state <> 'ASSIGNED') then
    perform pg_advisory_xact_lock(hashtextextended('holder' || new.assigned_to::text, 13));
    if (select count(*) from public.call_task t where t.assigned_to = new.assigned_to and t.state in ('ASSIGNED', 'IN_CALL', 'WRAP_UP') and t.id <> new.id)
       >= (public.rule_value('tasks_per_operator') #>> '{}')::integer then
      perform public.refuse('409', 'ACTIVE_TASK_HELD', 'You hold as many tasks as one may; finish or release one first.', jsonb_build_object('call_task_id',
        (select t.id from public.call_task t where t.assigned_to = new.assigned_to and t.state in ('ASSIGNED', 'IN_CALL', 'WRAP_UP') and t.id <> new.id limit 1)));
    end if;
  end if;
  if tg_op = 'UPDATE' and new.customer_id <> old.customer_id and new.state not in ('DONE', 'RESCHEDULED', 'CANCELLED', 'BLOCKED') then
    perform public.assert_not_banned(new.customer_id);
  end if;
  return new;
end $$;

-- As in 0006, and: not with a hidden customer, and no dial without a number.
create or replace function call_attempt_rules() returns trigger language plpgsql as $$
begin
  if tg_op = 'INSERT' then
    if new.customer_id is not null then perform public.assert_living(new.customer_id); end if;
    if new.direction = 'OUTBOUND' then
      perform public.assert_contact_hours(new.started_at);
      perform public.assert_contact_hours(now());
      perform public.assert_not_banned(new.customer_id, new.e164);
      if new.e164 is null then
        perform public.refuse('422', 'PHONE_MISSING', 'This customer has no number that can be dialled; add one first.', jsonb_build_object('customer_id', new.customer_id));
      end if;
    end if;
  elsif (new.direction <> old.direction or new.direction = 'OUTBOUND' and new.e164 is distinct from old.e164) and not public.erasing() then
    perform public.refuse('409', 'CALL_FIXED', 'Whom a call went to is not rewritten.');
  elsif old.ended_at is not null and (new.outcome, new.ended_at, new.started_at, new.operator_id, new.direction) is distinct from (old.outcome, old.ended_at, old.started_at, old.operator_id, old.direction)
        and not public.erasing() then
    perform public.refuse('409', 'CALL_FINISHED', 'The outcome of a finished call is not rewritten; correct its memo instead.', jsonb_build_object('outcome', old.outcome));
  end if;
  return new;
end $$;

-- As in 0026, and: nothing begins with either of the two meanwhile.
create or replace function decide_candidate(candidate uuid) returns merge_candidate language plpgsql as $$
declare
  c merge_candidate;
begin
  select * into c from public.merge_candidate m where m.id = candidate for update;
  if c.id is not null and c.state <> 'OPEN' then
    perform public.refuse('409', 'CANDIDATE_DECIDED', 'Somebody has decided about these two already.', jsonb_build_object('state', c.state));
  end if;
  if c.id is not null then
    perform public.lock_to_hide(c.customer_a);
    perform public.lock_to_hide(c.customer_b);
  end if;
  return c;
end $$;

-- Appraisers who change -----------------------------------------------------------------------------------------------------

-- Booked visits to come that an appraiser could not make, working as they do now.
create function visits_in_doubt(who uuid) returns uuid[] language sql stable as $$
  select coalesce(array_agg(a.id order by a.starts_at, a.id), '{}')
    from public.appointment a join public.appraiser w on w.id = a.appraiser_id join public.visit_slot s on s.id = a.slot_id
   where a.appraiser_id = who and a.starts_at > now() and a.state in ('BOOKED', 'CONFIRMED')
     and (not w.active or w.deleted_at is not null or w.area_ids <> '{}' and not s.service_area_id = any (w.area_ids)
          or w.skills <> '{}' and not a.category_ids <@ w.skills or not public.appraiser_works(who, a.starts_at, a.ends_at))
$$;

-- Before a change of an appraiser's areas, skills, hours or activity: notes what is in doubt already, for refuse_visits_in_doubt() after it, in the same transaction.
create function note_visits_in_doubt(who uuid) returns void language plpgsql as $$
begin
  perform set_config('enishi.in_doubt', public.visits_in_doubt(who)::text, true);
end $$;

-- After it: says no when the change leaves booked visits behind, unless `despite`.
create function refuse_visits_in_doubt(who uuid, despite boolean) returns void language plpgsql as $$
declare
  behind uuid[];
begin
  if despite then return; end if;
  behind := array(select unnest(public.visits_in_doubt(who)) except select unnest(current_setting('enishi.in_doubt')::uuid[]));
  if cardinality(behind) = 0 then return; end if;
  perform public.refuse('409', 'APPRAISER_HAS_VISITS', format('%s booked visits would be left without their appraiser; move them first, or repeat with despite_visits=true.', cardinality(behind)),
    jsonb_build_object('appointments', (select jsonb_agg(jsonb_build_object('id', a.id, 'starts_at', a.starts_at, 'ends_at', a.ends_at, 'customer_id', a.customer_id, 'customer_name', c.display_name)
                                                         order by a.starts_at, a.id)
                                          from public.appointment a join public.customer c on c.id = a.customer_id where a.id = any (behind))));
end $$;
