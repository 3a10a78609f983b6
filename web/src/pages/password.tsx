import { PasswordInput, Text } from "@mantine/core";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { write } from "../api/client";
import { FormModal, tellSaved, useSubmit } from "../parts/form";

export function ChangePassword({ close }: { close: () => void }) {
  const { t } = useTranslation();
  const [current, setCurrent] = useState("");
  const [next, setNext] = useState("");
  const form = useSubmit();
  const submit = () =>
    form.run(async () => {
      await write("post", "/v1/session/password", { body: { current_password: current, new_password: next } });
      tellSaved(t("password.changed"));
      close();
    });
  return (
    <FormModal form={form} title={t("password.title")} size="sm" close={close} submit={submit} shown={["/current_password", "/new_password"]}>
      <PasswordInput label={t("password.current")} autoComplete="current-password" required withAsterisk={false} data-autofocus value={current}
        onChange={(e) => setCurrent(e.currentTarget.value)} error={form.at("/current_password")} />
      <PasswordInput label={t("login.newPassword")} autoComplete="new-password" minLength={10} required withAsterisk={false} value={next}
        onChange={(e) => setNext(e.currentTarget.value)} error={form.at("/new_password")} />
      <Text fz="xs" className="faint">{t("welcome.hint")}</Text>
    </FormModal>
  );
}
