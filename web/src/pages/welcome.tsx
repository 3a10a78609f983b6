import { Alert, Button, PasswordInput, Stack, Text, Title } from "@mantine/core";
import { useNavigate } from "@tanstack/react-router";
import { type FormEvent, useState } from "react";
import { useTranslation } from "react-i18next";
import { write } from "../api/client";
import { useSubmit } from "../parts/form";
import { ProblemAlert } from "../parts/problem";
import { remember } from "../session";
import { LocaleSwitch, Mark } from "./log_in";

/** The first password, with the token behind the # of a one-time link: it never reaches a server's log. */
export function WelcomePage() {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const [token] = useState(() => location.hash.slice(1));
  const [password, setPassword] = useState("");
  const [again, setAgain] = useState("");
  const form = useSubmit();
  const differs = again !== "" && again !== password;
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (password !== again) return;
    void form.run(async () => {
      remember(await write("post", "/v1/one-time-links/redemption", { body: { token, password } }));
      await navigate({ to: "/", replace: true });
    });
  };
  return (
    <main className="gate">
      <div className="sheet">
        <Mark />
        {token ? (
          <form onSubmit={submit}>
            <Stack gap="sm">
              <Title order={2}>{t("welcome.title")}</Title>
              <Text fz="sm" className="faint">{t("welcome.hint")}</Text>
              <ProblemAlert error={form.error} shown={["/password"]} />
              <PasswordInput label={t("login.newPassword")} name="password" autoComplete="new-password" minLength={10} required withAsterisk={false} autoFocus value={password}
                onChange={(e) => setPassword(e.currentTarget.value)} error={form.at("/password")} />
              <PasswordInput label={t("login.again")} name="again" autoComplete="new-password" required withAsterisk={false} value={again}
                onChange={(e) => setAgain(e.currentTarget.value)} error={differs ? t("login.differs") : undefined} />
              <Button type="submit" size="sm" loading={form.busy} disabled={differs || password === ""}>{t("welcome.submit")}</Button>
            </Stack>
          </form>
        ) : (
          <Alert color="red">{t("welcome.noToken")}</Alert>
        )}
        <div style={{ marginTop: 20 }}><LocaleSwitch /></div>
      </div>
    </main>
  );
}
