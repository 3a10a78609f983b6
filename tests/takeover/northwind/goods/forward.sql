select p.product_id::text as key,
       jsonb_build_object('name', p.product_name, 'description', concat_ws(E'\n', s.company_name, g.category_name), 'state', coalesce(p.quantity_per_unit, ''), 'category', 'other',
                          'deleted', p.discontinued = 1) as record,
       null::jsonb as links
  from products p
  left join suppliers s using (supplier_id)
  left join categories g using (category_id)
 where p.product_id = any ($1::smallint[])
