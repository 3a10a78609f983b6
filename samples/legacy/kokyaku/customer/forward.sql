-- A cell of t_tel may hold several numbers: the part n of row 16 has the key 16-n, a number that is alone in its cell 16.
-- jusho1 is prefecture and city, jusho2 town and street (from the first digit on); where that would be read wrong, a wide space parts them.
select k.kokyaku_no::text as key,
       jsonb_build_object(
         'display_name', k.shimei,
         'kana', coalesce(k.shimei_kana, ''),
         'birth_date', case when to_char(b.day, 'YYYYMMDD') = k.seinengappi then b.day end,
         'notes', coalesce(k.biko, ''),
         'flags', f.flags,
         'custom', coalesce(k.yobi2::jsonb, '{}'),
         'phones', coalesce(t.phones, '[]'),
         'addresses', coalesce(a.addresses, '[]'),
         'emails', case when coalesce(k.email, '') = '' then '[]' else
           (select jsonb_agg(jsonb_build_object('key', e.n::text, 'email', e.email) order by e.n)
              from unnest(string_to_array(k.email, ',')) with ordinality e(email, n)) end,
         'deleted', k.del_flg = '1') as record,
       case when t.ids is not null then jsonb_build_object('public.t_tel', t.ids) end as links
  from m_kokyaku k
  left join lateral (select case when k.seinengappi ~ '^(18[7-9]|19|20)' and k.seinengappi ~ '^[0-9]{4}(0[1-9]|1[0-2])[0-9]{2}$'
                                 then make_date(left(k.seinengappi, 4)::integer, substr(k.seinengappi, 5, 2)::integer, 1) + substr(k.seinengappi, 7, 2)::integer - 1 end as day) b on true
  cross join lateral (select coalesce(jsonb_agg(x.flag order by x.flag collate "C"), '[]') as flags
                        from (select case k.kokyaku_kbn when 2 then 'VIP' when 3 then 'CAUTION' when 4 then 'COMPLAINT' end as flag
                              union select 'NO_MAIL' where k.dm_fuka = 1
                              union select y from unnest(string_to_array(k.yobi1, ',')) y) x where x.flag <> '') f
  left join lateral (select jsonb_agg(jsonb_build_object('key', t.tel_id::text || case when p.parts > 1 then '-' || p.n else '' end, 'raw', p.raw, 'note', coalesce(t.biko, ''))
                                      order by t.hyoji_jun, t.tel_id, p.n) filter (where p.raw <> '') as phones,
                            jsonb_agg(t.tel_id::text order by t.tel_id) filter (where p.n = 1) as ids
                       from t_tel t
                       cross join lateral (select trim(r.raw) as raw, r.n, count(*) over () as parts
                                             from regexp_split_to_table(t.tel_no, '[/／、,]') with ordinality r(raw, n)) p
                      where t.kokyaku_no = k.kokyaku_no) t on true
  left join lateral (select jsonb_agg(jsonb_build_object(
                              'key', j.eda_no::text, 'postal_code', nullif(replace(trim(j.yubin_no), '-', ''), ''),
                              'prefecture', case when j.jusho1 like '%　%' then split_part(j.jusho1, '　', 1) else coalesce(substring(j.jusho1 from '^(東京都|北海道|京都府|大阪府|.{2,3}県)'), '') end,
                              'city', case when j.jusho1 like '%　%' then substr(j.jusho1, strpos(j.jusho1, '　') + 1) else regexp_replace(j.jusho1, '^(東京都|北海道|京都府|大阪府|.{2,3}県)', '') end,
                              'town', case when j.jusho2 like '%　%' then split_part(j.jusho2, '　', 1) else substring(j.jusho2 from '^[^0-9０-９]*') end,
                              'street', case when j.jusho2 like '%　%' then substr(j.jusho2, strpos(j.jusho2, '　') + 1) else regexp_replace(j.jusho2, '^[^0-9０-９]*', '') end,
                              'building', coalesce(j.jusho3, ''), 'note', coalesce(j.biko, '')) order by j.eda_no) as addresses
                       from t_jusho j where j.kokyaku_no = k.kokyaku_no and j.del_flg = '0') a on true
 where k.kokyaku_no = any ($1::integer[])
