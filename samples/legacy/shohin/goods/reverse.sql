insert into t_shohin as s (shohin_no, bunrui_cd, hankyo_no, hinmei, jotai, jotai_memo, kaitori_kin, kaitori_bi, biko, yobi2, del_flg)
select coalesce($1::integer, nextval('shohin_no_seq')::integer),
       to_char(coalesce(array_position(array['kimono', 'jewellery', 'watch', 'brand_bag', 'stamp', 'coin', 'antique', 'camera', 'record', 'instrument', 'liquor', 'fur', 'tableware', 'doll',
                                             'gift_certificate'], $2 ->> 'category'), case when coalesce($2 ->> 'category', 'other') = 'other' then 99 end), 'FM0000'),
       ($2 ->> 'inquiry')::integer, $2 ->> 'name', coalesce(array_position(array['新品', '美品', '並', '難あり'], $2 ->> 'state'), 9),
       case when array_position(array['新品', '美品', '並', '難あり'], $2 ->> 'state') is null then nullif($2 ->> 'state', '') end,
       ($2 ->> 'price_yen')::numeric, to_char(($2 ->> 'received_on')::date, 'YYYYMMDD'), nullif($2 ->> 'description', ''), nullif($2 -> 'custom', '{}')::text,
       case when ($2 ->> 'deleted')::boolean then '1' else '0' end
on conflict (shohin_no) do update
   set bunrui_cd = excluded.bunrui_cd, hankyo_no = excluded.hankyo_no, hinmei = excluded.hinmei, jotai = excluded.jotai, jotai_memo = excluded.jotai_memo, kaitori_kin = excluded.kaitori_kin,
       kaitori_bi = excluded.kaitori_bi, biko = excluded.biko, yobi2 = excluded.yobi2, del_flg = excluded.del_flg;

select coalesce($1::integer, currval('shohin_no_seq')::integer)::text
