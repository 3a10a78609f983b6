-- Japan's time everywhere. toroku_ts has the seconds of uketsuke_bi and uketsuke_jikan where it is the same minute; jikai_ts those of an appointment.
select h.hankyo_no::text as key,
       jsonb_build_object(
         'customer', h.kokyaku_no::text,
         'customer_system', 'kokyaku',
         'media_source', case h.baitai_cd when 'WEB' then 'web' when 'KEN' then 'search' when 'CHI' then 'flyer' when 'TV ' then 'tv' when 'ZAS' then 'magazine'
                                          when 'SHO' then 'referral' when 'OLD' then 'phone_book' else 'legacy-' || trim(h.baitai_cd) end,
         'channel', case h.keiro when '電話' then 'PHONE' when 'WEB' then 'WEB' when '名簿' then 'FILE' else 'OTHER' end,
         'customer_initiated', h.jihatsu_flg = '1',
         'external_ref', h.gaibu_no,
         'received_at', case when to_char(h.toroku_ts, 'YYYYMMDDHH24MI') = h.uketsuke_bi || h.uketsuke_jikan then h.toroku_ts
                             else to_date(h.uketsuke_bi, 'YYYYMMDD') + make_time(left(h.uketsuke_jikan, 2)::integer, right(h.uketsuke_jikan, 2)::integer, 0) end at time zone 'Asia/Tokyo',
         'stage', case h.jokyo when 0 then 'NEW' when 10 then 'IN_PROGRESS' when 20 then 'NURTURING' when 30 then 'APPOINTED' when 40 then 'VISITED' when 50 then 'CONTRACTED'
                               when 51 then 'NO_DEAL' when 90 then 'LOST' when 99 then 'INVALID' else 'jokyo ' || h.jokyo end,
         'lost_reason', case when h.jokyo = 90 then
                          case h.riyu_cd when 1 then '他社で売却済み' when 2 then '家族の反対' when 3 then '価格が合わない' when 4 then '連絡がつかない' else coalesce(nullif(h.riyu, ''), 'その他') end end,
         'invalid_reason', case when h.jokyo = 99 then case h.riyu_cd when 11 then 'duplicate' when 12 then 'prank' when 13 then 'out_of_area' else 'excluded_goods' end end,
         'next_action', case h.jikai_kbn when 1 then 'CALL' when 2 then 'CALLBACK' when 3 then 'PRE_VISIT_CALL' when 4 then 'NURTURE_CALL' when 5 then 'VISIT' when 6 then 'WAIT'
                                         when 9 then 'NONE' else case when h.jokyo in (10, 20) then 'CALL' when h.jokyo = 30 then 'VISIT' end end,
         'next_action_at', case when h.jokyo = 30 and coalesce(h.jikai_kbn, 5) = 5 and p.starts is not null and date_trunc('minute', h.jikai_ts) is distinct from p.starts
                                then p.starts else h.jikai_ts end at time zone 'Asia/Tokyo',
         'notes', coalesce(h.memo, ''),
         'custom', coalesce(h.yobi2::jsonb, '{}'),
         'items', coalesce(m.items, '[]'),
         'deleted', h.del_flg = '1') as record,
       case when p.ids is not null then jsonb_build_object('public.t_apo', p.ids) end as links
  from t_hankyo h
  left join lateral (select jsonb_agg(jsonb_build_object('key', m.gyo_no::text,
                              'category', (array['kimono', 'jewellery', 'watch', 'brand_bag', 'stamp', 'coin', 'antique', 'camera', 'record', 'instrument', 'liquor', 'fur', 'tableware', 'doll',
                                                 'gift_certificate'])[case when m.bunrui_cd ~ '^00(0[1-9]|1[0-5])$' then m.bunrui_cd::integer end],
                              'description', coalesce(m.hinmei, ''), 'quantity', m.suryo)
                              || case when m.bunrui_cd ~ '^00(0[1-9]|1[0-5])$' then '{}'::jsonb else '{"category": "other"}' end order by m.gyo_no) as items
                       from t_hankyo_meisai m where m.hankyo_no = h.hankyo_no) m on true
  left join lateral (select jsonb_agg(a.apo_no::text order by a.apo_no) as ids,
                            (array_agg(to_date(a.homon_bi, 'YYYYMMDD') + make_time(left(a.kaishi_jikan, 2)::integer, right(a.kaishi_jikan, 2)::integer, 0) order by a.apo_no desc)
                              filter (where a.jokyo in (1, 2, 3)))[1] as starts
                       from t_apo a where a.hankyo_no = h.hankyo_no) p on true
 where h.hankyo_no = any ($1::integer[])
