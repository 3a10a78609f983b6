-- What the end of a call and a screen pop pay for besides their own work (docs/benchmarks.md, instructions counted).

-- A trigger's WHEN is parsed and compiled anew for each statement: 35,000 instructions each, where asking inside the function costs 5,000. Only for
-- functions that run as their caller, for mirroring() goes by the caller's rights; what is SECURITY DEFINER, such as record_change(), keeps its WHEN.
create or replace function touch() returns trigger language plpgsql as $$
begin
  if current_setting('enishi.mirror', true) = 'on' and public.mirroring() then return new; end if;
  new.version := old.version + 1;
  new.updated_at := now();
  return new;
end $$;

create or replace function check_transition() returns trigger language plpgsql as $$
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
  if current_setting('enishi.mirror', true) = 'on' and public.mirroring() then return new; end if;
  perform public.refuse('409', 'ILLEGAL_TRANSITION', format('A %s that is %s cannot become %s.', tg_argv[0], was, wanted),
    jsonb_build_object('entity', tg_argv[0], 'current_state', was, 'requested_state', wanted, 'allowed_transitions',
      coalesce((select jsonb_agg(t.to_state order by t.to_state) from public.transition t where t.entity = tg_argv[0] and t.from_state = was), '[]')));
  return null;
end $$;

create or replace function inquiry_keeps_appointment() returns trigger language plpgsql as $$
begin
  if new.stage <> 'NURTURING' or old.stage <> 'APPOINTED' then return new; end if;
  if current_setting('enishi.mirror', true) = 'on' and public.mirroring() then return new; end if;
  if exists (select from public.appointment a where a.inquiry_id = new.id and a.state in ('BOOKED', 'CONFIRMED', 'EN_ROUTE', 'ARRIVED')) then
    perform public.refuse('409', 'INQUIRY_HAS_APPOINTMENT', 'This inquiry has a visit; cancel the visit, and the inquiry goes back to nurturing.');
  end if;
  return new;
end $$;

create or replace function inquiry_ended() returns trigger language plpgsql as $$
begin
  if new.stage not in ('LOST', 'INVALID') or old.stage = new.stage then return null; end if;
  if current_setting('enishi.mirror', true) = 'on' and public.mirroring() then return null; end if;
  update public.call_task t set state = 'CANCELLED', assigned_to = null, lease_expires_at = null
   where t.inquiry_id = new.id and t.state in ('SCHEDULED', 'READY', 'ASSIGNED', 'BLOCKED');
  if old.stage = 'APPOINTED' then
    update public.appointment a set state = 'CANCELLED', cancelled_by = case when new.stage = 'LOST' then 'CUSTOMER' else 'COMPANY' end,
           cancel_reason = coalesce(new.lost_reason, new.invalid_reason)
     where a.inquiry_id = new.id and a.state in ('HELD', 'BOOKED', 'CONFIRMED', 'EN_ROUTE');
  end if;
  return null;
end $$;

drop trigger b_touch on inquiry;
drop trigger d_transition on inquiry;
drop trigger e_appointment on inquiry;
drop trigger y_ended on inquiry;
create trigger b_touch before update on inquiry for each row execute function touch();
create trigger d_transition before update of stage on inquiry for each row execute function check_transition('inquiry', 'stage');
create trigger e_appointment before update of stage on inquiry for each row execute function inquiry_keeps_appointment();
create trigger y_ended after update of stage on inquiry for each row execute function inquiry_ended();

-- Views are written in the order of time: at the right end of an index PostgreSQL knows the page, at the left end it looks for it for each row.
drop index personal_data_view_newest;
create index personal_data_view_newest on personal_data_view (at, id);
