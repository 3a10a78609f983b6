-- The work queue (架電タスク) and calls (通話).

insert into transition (entity, from_state, to_state) values
  ('call_task', 'SCHEDULED', 'READY'), ('call_task', 'SCHEDULED', 'BLOCKED'), ('call_task', 'SCHEDULED', 'CANCELLED'), ('call_task', 'SCHEDULED', 'ASSIGNED'),
  ('call_task', 'READY', 'ASSIGNED'), ('call_task', 'READY', 'SCHEDULED'), ('call_task', 'READY', 'BLOCKED'), ('call_task', 'READY', 'CANCELLED'),
  ('call_task', 'ASSIGNED', 'READY'), ('call_task', 'ASSIGNED', 'SCHEDULED'), ('call_task', 'ASSIGNED', 'IN_CALL'), ('call_task', 'ASSIGNED', 'BLOCKED'),
  ('call_task', 'ASSIGNED', 'CANCELLED'),
  ('call_task', 'IN_CALL', 'WRAP_UP'), ('call_task', 'IN_CALL', 'DONE'), ('call_task', 'IN_CALL', 'RESCHEDULED'), ('call_task', 'IN_CALL', 'READY'), ('call_task', 'IN_CALL', 'BLOCKED'),
  ('call_task', 'WRAP_UP', 'DONE'), ('call_task', 'WRAP_UP', 'RESCHEDULED'), ('call_task', 'WRAP_UP', 'READY'), ('call_task', 'WRAP_UP', 'BLOCKED'),
  ('call_task', 'BLOCKED', 'READY'), ('call_task', 'BLOCKED', 'SCHEDULED'), ('call_task', 'BLOCKED', 'CANCELLED');

-- How urgent a kind of task is; a row for a media source wins over the general one. Changed by a new effective_from.
create table priority_rule (
  id uuid primary key default gen_random_uuid(),
  kind text not null check (kind in ('FIRST_CALL', 'CALLBACK', 'PRE_VISIT', 'NURTURE', 'FOLLOW_UP')),
  media_source_id uuid references media_source,
  priority integer not null check (priority between 0 and 1000),
  effective_from timestamptz not null default now()
);
create unique index priority_rule_key on priority_rule (kind, coalesce(media_source_id, '00000000-0000-0000-0000-000000000000'), effective_from);
insert into priority_rule (kind, priority, effective_from) values
  ('FIRST_CALL', 900, '2000-01-01'), ('CALLBACK', 800, '2000-01-01'), ('PRE_VISIT', 700, '2000-01-01'), ('FOLLOW_UP', 500, '2000-01-01'), ('NURTURE', 200, '2000-01-01');

-- PL/pgSQL, because it keeps its plan: an SQL function that is not inlined is planned at each call, three times as dear.
create function task_priority(wanted text, source uuid) returns integer language plpgsql stable as $$
begin
  return (select r.priority from public.priority_rule r
           where r.kind = wanted and (r.media_source_id = source or r.media_source_id is null) and r.effective_from <= now()
           order by r.media_source_id nulls last, r.effective_from desc limit 1);
end $$;

create table call_task (
  -- customer_id, inquiry_id, owner_id, team_id and previous_task_id are copies of what the statement has just read (call_task_rules() looks at
  -- the first two); foreign keys would lock five more rows for each task.
  id uuid primary key,
  customer_id uuid not null,
  inquiry_id uuid,
  appointment_id uuid,
  kind text not null check (kind in ('FIRST_CALL', 'CALLBACK', 'PRE_VISIT', 'NURTURE', 'FOLLOW_UP')),
  state text not null default 'SCHEDULED' check (state in ('SCHEDULED', 'READY', 'ASSIGNED', 'IN_CALL', 'WRAP_UP', 'DONE', 'RESCHEDULED', 'CANCELLED', 'BLOCKED')),
  priority integer not null,
  due_at timestamptz not null,
  note text not null default '' check (length(note) <= 1000),
  assigned_to uuid references app_user,
  lease_expires_at timestamptz,
  owner_id uuid,                            -- whose task it is; null: anybody of the team
  team_id uuid,
  attempts integer not null default 0,
  blocked_reason text,
  previous_task_id uuid,
  version integer not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint leased_when_assigned check ((state in ('ASSIGNED', 'IN_CALL', 'WRAP_UP')) = (assigned_to is not null and lease_expires_at is not null)),
  constraint blocked_has_reason check (state <> 'BLOCKED' or blocked_reason is not null)
) with (fillfactor = 80);
-- The claim takes from the top of this index, and skips what others hold.
create index call_task_ready on call_task (priority desc, due_at, id) where state = 'READY';
create index call_task_scheduled on call_task (due_at, id) where state = 'SCHEDULED';
create index call_task_blocked on call_task (due_at, id) where state = 'BLOCKED';
create index call_task_lease on call_task (lease_expires_at) where state in ('ASSIGNED', 'IN_CALL', 'WRAP_UP');
create index call_task_assigned on call_task (assigned_to) where state in ('ASSIGNED', 'IN_CALL', 'WRAP_UP');
create index call_task_owner on call_task (owner_id, due_at, id) where owner_id is not null and state in ('SCHEDULED', 'READY', 'ASSIGNED', 'IN_CALL', 'WRAP_UP', 'BLOCKED');
create index call_task_customer on call_task (customer_id, due_at desc);
create index call_task_inquiry on call_task (inquiry_id) where state in ('SCHEDULED', 'READY', 'ASSIGNED', 'IN_CALL', 'WRAP_UP', 'BLOCKED');
-- An inquiry has one open call at a time, besides the call before a visit.
create unique index call_task_one_open on call_task (inquiry_id) where state in ('SCHEDULED', 'READY', 'ASSIGNED', 'IN_CALL', 'WRAP_UP', 'BLOCKED') and kind <> 'PRE_VISIT';

create table call_attempt (
  id uuid primary key,
  direction text not null check (direction in ('OUTBOUND', 'INBOUND')),
  customer_id uuid references customer,     -- an inbound caller may be nobody we know yet
  inquiry_id uuid references inquiry,
  task_id uuid references call_task,
  e164 text check (e164 ~ '^\+[1-9][0-9]{6,14}$'),
  operator_id uuid not null references app_user,
  team_id uuid references team,
  started_at timestamptz not null default now(),
  ended_at timestamptz,
  outcome text check (outcome in ('APPOINTED', 'CALLBACK', 'NO_ANSWER', 'BUSY', 'VOICEMAIL', 'THIRD_PARTY', 'WRONG_NUMBER', 'OUT_OF_SERVICE', 'REFUSED', 'ABANDONED')),
  memo text not null default '' check (length(memo) <= 10000),
  recording_ref text check (length(recording_ref) <= 500),
  recording_retain_until date,
  recording_notice boolean not null default false,    -- the customer was told that the call is recorded
  version integer not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint finished_has_outcome check ((ended_at is null) = (outcome is null)),
  constraint outbound_has_customer check (direction <> 'OUTBOUND' or customer_id is not null)
) with (fillfactor = 85);
create index call_attempt_customer on call_attempt (customer_id, started_at desc, id desc);
create index call_attempt_task on call_attempt (task_id) where task_id is not null;
create index call_attempt_started on call_attempt (started_at desc, id desc);
create index call_attempt_operator on call_attempt (operator_id, started_at desc, id desc);
create index call_attempt_team on call_attempt (team_id, started_at desc, id desc);

-- Calls that are going on: one of an operator, one of a task. Apart from call_attempt, so that the end of a call changes no column that an
-- index of it knows, and writes to none of the five (a heap-only tuple). Kept by call_began() and call_ended().
create table open_call (
  call_attempt_id uuid primary key references call_attempt,
  operator_id uuid not null constraint open_call_of_operator unique,
  task_id uuid constraint open_call_of_task unique,
  started_at timestamptz not null
);
create index open_call_started on open_call (started_at);
revoke insert, update on open_call from enishi_app;

alter table solicitation_request add foreign key (call_attempt_id) references call_attempt;
alter table solicitation_ban add foreign key (call_attempt_id) references call_attempt;

-- No task for whom must not be called, and none for an inquiry that has ended. A new one that may be claimed at once takes the shared locks, for a
-- ban that commits at this moment cannot see it; one for later does without, for it is looked at again when it becomes READY. One that exists needs none: the ban's own update waits for its row, so whoever is second sees the first; and taking
-- advisory locks after row locks would deadlock with the ban. Against a ban a task becomes BLOCKED instead of READY or ASSIGNED, so
-- that one banned task cannot stop the queue; only unblocking it is refused.
create function call_task_rules() returns trigger language plpgsql as $$
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

-- No dial against a ban or outside contact hours. The shared locks make a ban that commits at this moment wait, or this dial see it.
create function call_attempt_rules() returns trigger language plpgsql as $$
begin
  if tg_op = 'INSERT' then
    if new.direction = 'OUTBOUND' then
      perform public.assert_contact_hours(new.started_at);
      perform public.assert_contact_hours(now());
      perform public.assert_not_banned(new.customer_id, new.e164);
    end if;
  elsif (new.direction <> old.direction or new.direction = 'OUTBOUND' and new.e164 is distinct from old.e164) and not public.erasing() then
    perform public.refuse('409', 'CALL_FIXED', 'Whom a call went to is not rewritten.');
  elsif old.ended_at is not null and (new.outcome, new.ended_at, new.started_at, new.operator_id, new.direction) is distinct from (old.outcome, old.ended_at, old.started_at, old.operator_id, old.direction)
        and not public.erasing() then
    perform public.refuse('409', 'CALL_FINISHED', 'The outcome of a finished call is not rewritten; correct its memo instead.', jsonb_build_object('outcome', old.outcome));
  end if;
  return new;
end $$;

create function call_began() returns trigger language plpgsql security definer as $$
begin
  if new.ended_at is null then
    insert into public.open_call (call_attempt_id, operator_id, task_id, started_at) values (new.id, new.operator_id, new.task_id, new.started_at);
  end if;
  return null;
end $$;

-- A number that is wrong or dead is marked as doubtful on the customer; it stays, for the customer may be reached by it again one day.
create function call_ended() returns trigger language plpgsql security definer as $$
begin
  if old.outcome is not null then return null; end if;
  delete from public.open_call o where o.call_attempt_id = new.id;
  if new.outcome not in ('WRONG_NUMBER', 'OUT_OF_SERVICE') then return null; end if;
  update public.customer_phone p set valid_hint = false, note = left(trim(p.note || ' ' || new.outcome), 200)
   where p.customer_id = new.customer_id and p.e164 = new.e164 and p.deleted_at is null and p.valid_hint;
  return null;
end $$;
create trigger y_began after insert on call_attempt for each row execute function call_began();
create trigger y_ended after update of outcome on call_attempt for each row execute function call_ended();

create trigger c_rules before insert or update on call_task for each row execute function call_task_rules();
create trigger d_transition before update of state on call_task for each row execute function check_transition('call_task', 'state');
create trigger c_rules before insert or update on call_attempt for each row execute function call_attempt_rules();
select make_business_table('priority_rule', 'master', 'priority_rule', 'id', false);
select make_business_table('call_task', 'call', 'call_task');
select make_business_table('call_attempt', 'call', 'call_attempt');
