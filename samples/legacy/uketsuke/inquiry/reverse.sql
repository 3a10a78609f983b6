insert into t_hankyo as h (hankyo_no, kokyaku_no, baitai_cd, keiro, uketsuke_bi, uketsuke_jikan, toroku_ts, jokyo, riyu_cd, riyu, jikai_kbn, jikai_ts, memo, gaibu_no, jihatsu_flg, yobi2, del_flg)
select coalesce($1::integer, nextval('hankyo_no_seq')::integer), ($2 ->> 'customer')::integer,
       -- A media source that 受付 does not know has no code: m_baitai's foreign key refuses it.
       case $2 ->> 'media_source' when 'web' then 'WEB' when 'search' then 'KEN' when 'flyer' then 'CHI' when 'tv' then 'TV' when 'magazine' then 'ZAS' when 'referral' then 'SHO'
                                  when 'phone_book' then 'OLD' else '?' end,
       (case $2 ->> 'channel' when 'PHONE' then '電話' when 'WEB' then 'WEB' when 'FILE' then '名簿' else 'その他' end)::keiro_kbn,
       to_char(r.at, 'YYYYMMDD'), to_char(r.at, 'HH24MI'), r.at,
       case $2 ->> 'stage' when 'NEW' then 0 when 'IN_PROGRESS' then 10 when 'NURTURING' then 20 when 'APPOINTED' then 30 when 'VISITED' then 40 when 'CONTRACTED' then 50
                           when 'NO_DEAL' then 51 when 'LOST' then 90 when 'INVALID' then 99 end,
       case $2 ->> 'stage'
         when 'LOST' then case $2 ->> 'lost_reason' when '他社で売却済み' then 1 when '家族の反対' then 2 when '価格が合わない' then 3 when '連絡がつかない' then 4 else 9 end
         when 'INVALID' then case $2 ->> 'invalid_reason' when 'duplicate' then 11 when 'prank' then 12 when 'out_of_area' then 13 else 14 end end,
       case when $2 ->> 'stage' = 'LOST' then $2 ->> 'lost_reason' end,
       case $2 ->> 'next_action' when 'CALL' then 1 when 'CALLBACK' then 2 when 'PRE_VISIT_CALL' then 3 when 'NURTURE_CALL' then 4 when 'VISIT' then 5 when 'WAIT' then 6 when 'NONE' then 9 end,
       ($2 ->> 'next_action_at')::timestamptz at time zone 'Asia/Tokyo', nullif($2 ->> 'notes', ''), $2 ->> 'external_ref',
       case when ($2 ->> 'customer_initiated')::boolean then '1' else '0' end, nullif($2 -> 'custom', '{}')::text, case when ($2 ->> 'deleted')::boolean then '1' else '0' end
  from (select ($2 ->> 'received_at')::timestamptz at time zone 'Asia/Tokyo' as at) r
on conflict (hankyo_no) do update
   set kokyaku_no = excluded.kokyaku_no, baitai_cd = excluded.baitai_cd, keiro = excluded.keiro, uketsuke_bi = excluded.uketsuke_bi, uketsuke_jikan = excluded.uketsuke_jikan,
       toroku_ts = excluded.toroku_ts, jokyo = excluded.jokyo, riyu_cd = excluded.riyu_cd, riyu = excluded.riyu, jikai_kbn = excluded.jikai_kbn, jikai_ts = excluded.jikai_ts,
       memo = excluded.memo, gaibu_no = excluded.gaibu_no, jihatsu_flg = excluded.jihatsu_flg, yobi2 = excluded.yobi2, del_flg = excluded.del_flg;

-- Appointments follow: the live one moves with next_action_at, ends as done once somebody was there, and is called off otherwise.
with live as (
  select a.apo_no from t_apo a
   where a.hankyo_no = (select coalesce($1::integer, currval('hankyo_no_seq')::integer)) and a.jokyo in (1, 2, 3) order by a.apo_no desc limit 1),
visit as (
  select ($2 ->> 'next_action_at')::timestamptz at time zone 'Asia/Tokyo' as at
   where $2 ->> 'stage' = 'APPOINTED' and $2 ->> 'next_action' = 'VISIT' and $2 ->> 'next_action_at' is not null),
moved as (
  update t_apo a set homon_bi = to_char(v.at, 'YYYYMMDD'), kaishi_jikan = to_char(v.at, 'HH24MI'), shuryo_jikan = to_char(v.at + interval '2 hours', 'HH24MI')
    from live l, visit v where a.apo_no = l.apo_no and (a.homon_bi, a.kaishi_jikan) is distinct from (to_char(v.at, 'YYYYMMDD'), to_char(v.at, 'HH24MI'))),
ended as (
  update t_apo a set jokyo = case when $2 ->> 'stage' in ('VISITED', 'CONTRACTED', 'NO_DEAL') then 5 else 8 end
   where a.hankyo_no = (select coalesce($1::integer, currval('hankyo_no_seq')::integer)) and a.jokyo in (1, 2, 3) and $2 ->> 'stage' <> 'APPOINTED')
insert into t_apo (hankyo_no, homon_bi, kaishi_jikan, shuryo_jikan, jokyo)
select coalesce($1::integer, currval('hankyo_no_seq')::integer), to_char(v.at, 'YYYYMMDD'), to_char(v.at, 'HH24MI'), to_char(v.at + interval '2 hours', 'HH24MI'), 2
  from visit v where not exists (select from live);

-- Lines are in the order of gyo_no and get it anew, unless they stand as they are.
with wanted as (
  select i.n, i.v, coalesce(array_position(array['kimono', 'jewellery', 'watch', 'brand_bag', 'stamp', 'coin', 'antique', 'camera', 'record', 'instrument', 'liquor', 'fur', 'tableware', 'doll',
                                                 'gift_certificate'], i.v ->> 'category'), case when i.v ->> 'category' = 'other' then 99 end) as code,
         case when i.v ->> 'key' ~ '^[0-9]+$' then (i.v ->> 'key')::integer end as gyo_no
    from jsonb_array_elements($2 -> 'items') with ordinality i(v, n)),
here as (
  select w.*, exists (select from t_hankyo_meisai m where m.hankyo_no = (select coalesce($1::integer, currval('hankyo_no_seq')::integer)) and m.gyo_no = w.gyo_no)
              and w.gyo_no > coalesce(max(w.gyo_no) over (order by w.n rows between unbounded preceding and 1 preceding), -1) as fits from wanted w),
kept as (select here.*, bool_and(fits) over (order by n) as stays from here),
gone as (
  delete from t_hankyo_meisai m
   where m.hankyo_no = (select coalesce($1::integer, currval('hankyo_no_seq')::integer)) and not exists (select from kept k where k.stays and k.gyo_no = m.gyo_no)),
changed as (
  update t_hankyo_meisai m set bunrui_cd = to_char(k.code, 'FM0000'), hinmei = nullif(k.v ->> 'description', ''), suryo = (k.v ->> 'quantity')::integer
    from kept k where k.stays and m.hankyo_no = (select coalesce($1::integer, currval('hankyo_no_seq')::integer)) and m.gyo_no = k.gyo_no)
insert into t_hankyo_meisai (hankyo_no, gyo_no, bunrui_cd, hinmei, suryo)
select coalesce($1::integer, currval('hankyo_no_seq')::integer),
       (select coalesce(max(m.gyo_no), 0) from t_hankyo_meisai m where m.hankyo_no = (select coalesce($1::integer, currval('hankyo_no_seq')::integer))) + row_number() over (order by k.n),
       to_char(k.code, 'FM0000'), nullif(k.v ->> 'description', ''), (k.v ->> 'quantity')::integer
  from kept k where not k.stays order by k.n;

select coalesce($1::integer, currval('hankyo_no_seq')::integer)::text
