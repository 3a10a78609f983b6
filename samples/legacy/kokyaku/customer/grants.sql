-- What reverse.sql writes, and what the triggers write for it. Run by the owner.
grant insert, update, delete on m_kokyaku, t_tel, t_jusho to enishi;
grant insert on t_kokyaku_rireki to enishi;
grant usage on sequence kokyaku_no_seq, tel_id_seq, rireki_id_seq to enishi;
