-- What a ban covers, and for how long: the number that the refusal came from too, and after a merge whoever is left.

-- As in 0005, and: the keys are locked with the number of the call, which need not be on the customer's card.
create or replace function solicitation_ban_before() returns trigger language plpgsql as $$
begin
  if tg_op = 'INSERT' then
    perform public.lock_contact_keys(new.customer_id, true, (select a.e164 from public.call_attempt a where a.id = new.call_attempt_id));
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

-- As in 0005, and: a ban that moves to another record of the person, by a merge or its undoing, covers that one instead, whose tasks wait.
create or replace function solicitation_ban_after() returns trigger language plpgsql security definer set search_path = public, pg_temp as $$
begin
  if tg_op = 'INSERT' then
    insert into public.solicitation_ban_key (ban_id, kind, key)
      select new.id, k.kind, k.key from public.contact_keys(new.customer_id) k
      union select new.id, 'phone', a.e164 from public.call_attempt a where a.id = new.call_attempt_id and a.e164 is not null;
    update public.call_task t set state = 'BLOCKED', blocked_reason = 'RESOLICITATION_BANNED', assigned_to = null, lease_expires_at = null
     where t.state in ('SCHEDULED', 'READY', 'ASSIGNED') and t.customer_id in (
       select new.customer_id
       union select p.customer_id from public.solicitation_ban_key k join public.customer_phone p on p.e164 = k.key and p.deleted_at is null where k.ban_id = new.id and k.kind = 'phone'
       union select a.customer_id from public.solicitation_ban_key k join public.customer_address a on a.address_key = k.key and a.deleted_at is null where k.ban_id = new.id and k.kind = 'address');
    return null;
  end if;
  if new.customer_id <> old.customer_id then
    update public.solicitation_ban_key k set key = new.customer_id::text where k.ban_id = new.id and k.kind = 'customer' and k.key = old.customer_id::text;
    if new.lifted_at is null then
      update public.call_task t set state = 'BLOCKED', blocked_reason = 'RESOLICITATION_BANNED', assigned_to = null, lease_expires_at = null
       where t.state in ('SCHEDULED', 'READY', 'ASSIGNED') and t.customer_id = new.customer_id;
    end if;
  end if;
  if new.lifted_at is not null and old.lifted_at is null then
    update public.solicitation_ban_key k set active = false where k.ban_id = new.id;
  end if;
  return null;
end $$;

-- A visit may go past midnight, where the contact hours are that long: then the duty of both days counts.
create or replace function appraiser_works(who uuid, starts timestamptz, ends timestamptz) returns boolean language sql stable as $$
  select case when d.first = d.last then public.appraiser_duty(who, d.first) else public.appraiser_duty(who, d.first) + public.appraiser_duty(who, d.last) end @> tstzrange(starts, ends)
    from (select (starts at time zone tz.name)::date as first, (ends at time zone tz.name)::date as last
            from (select public.rule_value('business_time_zone') #>> '{}' as name) tz) d
$$;

-- Who only reads neither seals nor makes partitions.
revoke execute on function seal_history(integer), ensure_history_partitions(date, integer) from enishi_read;
