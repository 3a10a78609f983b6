-- What the screens of the log of views need: the names of those who looked, and one record's views by one of them within a span of time.
select grant_operation('list_users', 'compliance:all');

drop function views_of_record(uuid, timestamptz, bigint, integer);
-- Who was shown one record, newest first. The planner does not know how few ranges a bloom filter leaves, and would read the whole table.
create function views_of_record(wanted uuid, by_user uuid, since timestamptz, before timestamptz, before_id bigint, most integer) returns setof personal_data_view
language sql stable set enable_seqscan = off set enable_indexscan = off set max_parallel_workers_per_gather = 0 as $$
  select v.* from public.personal_data_view v
   where v.entity_id = wanted and (by_user is null or v.user_id = by_user) and v.at >= since and (v.at, v.id) < (before, before_id)
   order by v.at desc, v.id desc limit most
$$;
