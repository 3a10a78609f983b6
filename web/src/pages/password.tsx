import { Button, Group, Modal, PasswordInput, Stack, Text } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { type FormEvent, useState } from "react";
import { useTranslation } from "react-i18next";
import { fieldError, write } from "../api/client";
import { ProblemAlert } from "../parts/problem";

export function ChangePassword({ close }: { close: () => void }) {
  const { t } = useTranslation();
  const [current, setCurrent] = useState("");
  const [next, setNext] = useState("");
  const [error, setError] = useState<unknown>();
  const [busy, setBusy] = useState(false);
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setBusy(true);
    try {
      await write("post", "/v1/session/password", { body: { current_password: current, new_password: next } });
      notifications.show({ message: t("password.changed"), color: "green" });
      close();
    } catch (e) {
      setError(e);
    } finally {
      setBusy(false);
    }
  };
  return (
    <Modal opened onClose={close} title={t("password.title")} size="sm">
      <form onSubmit={submit}>
        <Stack gap="sm">
          <ProblemAlert error={error} shown={["/current_password", "/new_password"]} />
          <PasswordInput label={t("password.current")} autoComplete="current-password" required withAsterisk={false} data-autofocus value={current}
            onChange={(e) => setCurrent(e.currentTarget.value)} error={fieldError(error, "/current_password")} />
          <PasswordInput label={t("login.newPassword")} autoComplete="new-password" minLength={10} required withAsterisk={false} value={next}
            onChange={(e) => setNext(e.currentTarget.value)} error={fieldError(error, "/new_password")} />
          <Text fz="xs" className="faint">{t("welcome.hint")}</Text>
          <Group justify="flex-end">
            <Button variant="default" onClick={close}>{t("common.cancel")}</Button>
            <Button type="submit" loading={busy}>{t("common.save")}</Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
