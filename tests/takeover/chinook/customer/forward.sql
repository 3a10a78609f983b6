select c."CustomerId"::text as key,
       jsonb_build_object(
         'display_name', c."FirstName" || ' ' || c."LastName",
         'notes', coalesce(c."Company", ''),
         'emails', jsonb_build_array(jsonb_build_object('key', '1', 'email', c."Email")),
         'phones', (select coalesce(jsonb_agg(jsonb_build_object('key', p.key, 'raw', p.raw, 'note', case p.key when 'Fax' then 'Fax' else '' end) order by p.key desc), '[]')
                      from (values ('Phone', c."Phone"), ('Fax', c."Fax")) p(key, raw) where p.raw <> ''),
         'addresses', jsonb_build_array(jsonb_build_object('key', '1', 'prefecture', left(coalesce(c."Country", ''), 20), 'city', coalesce(c."City", ''), 'town', coalesce(c."State", ''),
                                                           'street', coalesce(c."Address", ''), 'note', coalesce(c."PostalCode", '')))) as record,
       null::jsonb as links
  from "Customer" c
 where c."CustomerId" = any ($1::integer[])
