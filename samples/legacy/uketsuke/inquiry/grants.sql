-- What reverse.sql writes. Run by the owner.
grant insert, update, delete on t_hankyo, t_hankyo_meisai, t_apo to enishi;
grant usage on sequence hankyo_no_seq, apo_no_seq to enishi;
