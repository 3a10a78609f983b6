select s.shohin_no::text as key,
       jsonb_build_object(
         'name', s.hinmei,
         'description', coalesce(s.biko, ''),
         'category', case when s.bunrui_cd ~ '^00(0[1-9]|1[0-5])$'
                          then (array['kimono', 'jewellery', 'watch', 'brand_bag', 'stamp', 'coin', 'antique', 'camera', 'record', 'instrument', 'liquor', 'fur', 'tableware', 'doll',
                                      'gift_certificate'])[s.bunrui_cd::integer] else 'other' end,
         'inquiry', s.hankyo_no::text,
         'inquiry_system', case when s.hankyo_no is not null then 'uketsuke' end,
         'state', case s.jotai when 1 then '新品' when 2 then '美品' when 3 then '並' when 4 then '難あり' else coalesce(s.jotai_memo, '') end,
         'price_yen', s.kaitori_kin::bigint,
         'received_on', case when to_char(b.day, 'YYYYMMDD') = s.kaitori_bi then b.day end,
         'custom', coalesce(s.yobi2::jsonb, '{}'),
         'deleted', s.del_flg = '1') as record,
       null::jsonb as links
  from t_shohin s
  left join lateral (select case when s.kaitori_bi ~ '^(19|20)[0-9]{2}(0[1-9]|1[0-2])[0-9]{2}$'
                                 then make_date(left(s.kaitori_bi, 4)::integer, substr(s.kaitori_bi, 5, 2)::integer, 1) + substr(s.kaitori_bi, 7, 2)::integer - 1 end as day) b on true
 where s.shohin_no = any ($1::integer[])
