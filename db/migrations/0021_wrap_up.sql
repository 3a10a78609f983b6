-- The end of the talk, apart from the end of the work on it; and one place that knows what custom fields say.

-- Between hanging up and the outcome the operator writes: the call is over, its task is WRAP_UP. Null: the outcome came while talking, or nobody said.
alter table call_attempt add column talk_ended_at timestamptz;
alter table call_attempt add constraint talk_has_begun check (talk_ended_at >= started_at);

select grant_operation('wrap_up_call', 'operator:own supervisor:team admin:all');

create or replace function check_custom() returns trigger language plpgsql as $$
declare
  wrong jsonb;
begin
  if new.custom = '{}' then
    if not exists (select from public.custom_field f where f.entity = tg_argv[0] and f.required and f.deleted_at is null) then return new; end if;
  elsif tg_op = 'UPDATE' and new.custom = old.custom then
    return new;
  end if;
  wrong := public.custom_errors(tg_argv[0], new.custom);
  if wrong is not null then
    perform public.refuse('422', 'VALIDATION_FAILED', 'Custom fields do not fit their definitions.', jsonb_build_object('errors', wrong));
  end if;
  return new;
end $$;
