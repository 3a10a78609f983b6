-- A company is a customer; whom to ask for stands in the notes, a line each. Postal codes of other countries are no seven digits: they are the note of the address.
select c.customer_id as key,
       jsonb_build_object(
         'display_name', c.company_name,
         'notes', coalesce(c.contact_name, '') || case when c.contact_title is null then '' else E'\n' || c.contact_title end,
         'phones', (select coalesce(jsonb_agg(jsonb_build_object('key', p.key, 'raw', p.raw, 'note', case p.key when 'fax' then 'Fax' else '' end) order by p.key desc), '[]')
                      from (values ('phone', c.phone), ('fax', c.fax)) p(key, raw) where p.raw <> ''),
         'addresses', case when coalesce(c.address, c.city, c.region, c.postal_code, c.country) is null then '[]' else
           jsonb_build_array(jsonb_build_object('key', '1', 'prefecture', coalesce(c.country, ''), 'city', coalesce(c.city, ''), 'town', coalesce(c.region, ''),
                                                'street', coalesce(c.address, ''), 'note', coalesce(c.postal_code, ''))) end) as record,
       null::jsonb as links
  from customers c
 where c.customer_id = any ($1::text[])
