-- Inquiries, the queue and calls: who may do what, what keeps them together, and the periodic jobs.

select grant_operation('list_inquiries', 'operator:own supervisor:team marketing:all compliance:all admin:all');
select grant_operation('create_inquiry', 'operator:own supervisor:team marketing:all admin:all');
select grant_operation('get_inquiry', 'operator:own supervisor:team marketing:all compliance:all admin:all');
select grant_operation('update_inquiry', 'operator:own supervisor:team marketing:all admin:all');
select grant_operation('transition_inquiry', 'operator:own supervisor:team admin:all');
select grant_operation('create_inquiry_item', 'operator:own supervisor:team admin:all');
select grant_operation('update_inquiry_item', 'operator:own supervisor:team admin:all');
select grant_operation('delete_inquiry_item', 'operator:own supervisor:team admin:all');
select grant_operation('get_hearing_sheet', 'operator:own supervisor:team compliance:all admin:all');
select grant_operation('save_hearing_sheet', 'operator:own supervisor:team admin:all');
select grant_operation('receive_lead', 'marketing:all admin:all');

select grant_operation('list_call_tasks', 'operator:own supervisor:team compliance:all admin:all');
select grant_operation('create_call_task', 'operator:own supervisor:team admin:all');
select grant_operation('claim_call_task', 'operator:own supervisor:team admin:all');
select grant_operation('get_call_task', 'operator:own supervisor:team compliance:all admin:all');
select grant_operation('release_call_task', 'operator:own supervisor:team admin:all');
select grant_operation('reassign_call_task', 'supervisor:team admin:all');
select grant_operation('snooze_call_task', 'operator:own supervisor:team admin:all');
select grant_operation('extend_call_task_lease', 'operator:own supervisor:team admin:all');
select grant_operation('cancel_call_task', 'operator:own supervisor:team admin:all');
select grant_operation('unblock_call_task', 'compliance:all');
select grant_operation('list_priority_rules', 'operator:all supervisor:all marketing:all compliance:all admin:all');
select grant_operation('create_priority_rule', 'supervisor:all admin:all');

select grant_operation('start_call', 'operator:own supervisor:team admin:all');
select grant_operation('finish_call', 'operator:own supervisor:team admin:all');
select grant_operation('list_calls', 'operator:own supervisor:team compliance:all admin:all');
select grant_operation('get_call', 'operator:own supervisor:team compliance:all admin:all');
select grant_operation('update_call', 'operator:own supervisor:team admin:all');

insert into rule (name, effective_from, value, source) values
  ('call_lease_seconds', '2000-01-01', '900', 'a call whose client has gone silent for so long is ABANDONED and its task goes back'),
  ('inbound_call_seconds', '2000-01-01', '14400', 'an inbound call that nobody finished for so long is ABANDONED');

-- Whether a record is within the caller's rights. Nobody's records (no owner) belong to their team, and without a team to everybody.
create function within_scope(scope text, who uuid, teams uuid[], owner uuid, team uuid) returns boolean language sql immutable parallel safe as $$
  select scope = 'all' or owner = who or (owner is null or scope = 'team') and (team is null or team = any (teams))
$$;

-- An inquiry that ended wants no more calls and no visit: what is open is cancelled with it. A call that is going on ends by itself.
create function inquiry_ended() returns trigger language plpgsql as $$
begin
  if new.stage not in ('LOST', 'INVALID') or old.stage = new.stage then return null; end if;
  update public.call_task t set state = 'CANCELLED', assigned_to = null, lease_expires_at = null
   where t.inquiry_id = new.id and t.state in ('SCHEDULED', 'READY', 'ASSIGNED', 'BLOCKED');
  if old.stage = 'APPOINTED' then
    update public.appointment a set state = 'CANCELLED', cancelled_by = case when new.stage = 'LOST' then 'CUSTOMER' else 'COMPANY' end,
           cancel_reason = coalesce(new.lost_reason, new.invalid_reason)
     where a.inquiry_id = new.id and a.state in ('HELD', 'BOOKED', 'CONFIRMED', 'EN_ROUTE');
  end if;
  return null;
end $$;
-- No WHEN: PostgreSQL would parse its stored form anew for each statement, which costs more than asking here.
create trigger y_ended after update of stage on inquiry for each row execute function inquiry_ended();

-- Periodic jobs: whoever holds a job's row runs it; the others pass by.
create table job_run (
  name text primary key,
  next_run_at timestamptz not null default now(),
  last_run_at timestamptz,
  last_success_at timestamptz,
  duration_ms double precision,
  affected bigint,
  runs bigint not null default 0,
  failures bigint not null default 0,
  error text                                -- of the last run; null when it went well
) with (fillfactor = 50);
