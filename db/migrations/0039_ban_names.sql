-- Whose a ban is stands in it by name: a list of bans is read by people.
create or replace function solicitation_ban_json(wanted uuid) returns json language sql volatile as $$
  select json_build_object('id', b.id, 'customer_id', b.customer_id, 'customer_name', c.display_name, 'reason', b.reason, 'source', b.source,
    'call_attempt_id', b.call_attempt_id, 'inquiry_id', b.inquiry_id,
    'banned_at', b.banned_at, 'lifted_at', b.lifted_at, 'lift_reason', b.lift_reason, 'lift_inquiry_id', b.lift_inquiry_id, 'version', b.version,
    'created_at', b.created_at, 'updated_at', b.updated_at,
    'covers', (select coalesce(json_agg(json_build_object('kind', k.kind, 'key', k.key, 'active', k.active) order by k.kind, k.key), '[]') from public.solicitation_ban_key k where k.ban_id = b.id),
    'open_appointments', (select coalesce(json_agg(a.id order by a.starts_at), '[]') from public.appointment a
                           where a.customer_id = b.customer_id and a.state in ('HELD', 'BOOKED', 'CONFIRMED', 'EN_ROUTE', 'ARRIVED') and b.lifted_at is null))
    from public.solicitation_ban b join public.customer c on c.id = b.customer_id where b.id = wanted
$$;
