import { Button, Group, PasswordInput, Stack, TextInput, Title, UnstyledButton } from "@mantine/core";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { type FormEvent, useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import { Problem, write } from "../api/client";
import { chooseLocale } from "../i18n";
import { useSubmit } from "../parts/form";
import { ProblemAlert } from "../parts/problem";
import { type Me, remember, useSession } from "../session";

export function Mark() {
  return (
    <Group gap={10} mb="lg">
      <span aria-hidden style={{ background: "#b8452c", color: "#fff", width: 38, height: 38, borderRadius: 6, display: "grid", placeItems: "center", fontSize: 24 }}>
        縁
      </span>
      <Title order={1}>Enishi</Title>
    </Group>
  );
}

export function LocaleSwitch({ color }: { color?: string }) {
  const { i18n } = useTranslation();
  return (
    <Group gap={8} wrap="nowrap">
      {(["ja", "en"] as const).map((locale) => (
        <UnstyledButton key={locale} fz="xs" c={color} lang={locale} aria-pressed={i18n.language === locale} onClick={() => chooseLocale(locale)}
          style={{ whiteSpace: "nowrap", opacity: i18n.language === locale ? 1 : 0.7, fontWeight: i18n.language === locale ? 650 : 400 }}>
          {locale === "ja" ? "日本語" : "English"}
        </UnstyledButton>
      ))}
    </Group>
  );
}

/** Seconds until the next attempt may be made, counted down. */
function useThrottle(error: unknown) {
  const [left, setLeft] = useState(0);
  useEffect(() => {
    if (!(error instanceof Problem) || error.status !== 429) return setLeft(0);
    const until = Date.now() + Math.max(1, error.retryAfter) * 1000;
    const tick = () => setLeft(Math.max(0, Math.ceil((until - Date.now()) / 1000)));
    tick();
    const timer = setInterval(tick, 500);
    return () => clearInterval(timer);
  }, [error]);
  return left;
}

export function LogInForm({ done, login: known }: { done: (me: Me) => void; login?: string }) {
  const { t } = useTranslation();
  const [login, setLogin] = useState(known ?? "");
  const [password, setPassword] = useState("");
  const form = useSubmit();
  const { busy, error } = form;
  const left = useThrottle(error);
  const throttled = error instanceof Problem && error.status === 429;
  const submit = (event: FormEvent) => {
    event.preventDefault();
    void form.run(async () => {
      const me = await write("post", "/v1/session", { body: { login, password }, patient: false });
      remember(me);
      done(me);
    });
  };
  return (
    <form onSubmit={submit}>
      <Stack gap="sm">
        {!(throttled && left === 0) && <ProblemAlert error={throttled ? new Problem(429, "LOGIN_THROTTLED", "", [], {}, left) : error} shown={["/login", "/password"]} />}
        <TextInput size="sm" label={t("login.login")} name="login" autoComplete="username" autoCapitalize="off" spellCheck={false} required withAsterisk={false}
          value={login} onChange={(e) => setLogin(e.currentTarget.value)} error={form.at("/login")} autoFocus={!known} />
        <PasswordInput label={t("login.password")} name="password" autoComplete="current-password" required withAsterisk={false} value={password} data-autofocus={Boolean(known)}
          onChange={(e) => setPassword(e.currentTarget.value)} error={form.at("/password")} />
        <Button type="submit" size="sm" loading={busy} disabled={throttled && left > 0} fullWidth>
          {t("login.submit")}
        </Button>
      </Stack>
    </form>
  );
}

export function LogInPage() {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const { to } = useSearch({ from: "/login" });
  const { data: me } = useSession();
  useEffect(() => {
    if (me) void navigate({ to: to?.startsWith("/") && !to.startsWith("//") ? to : "/", replace: true });
  }, [me, to, navigate]);
  return (
    <main className="gate">
      <div className="sheet">
        <Mark />
        <LogInForm done={() => {}} />
        <Group justify="space-between" mt="lg">
          <LocaleSwitch />
          <Link to="/docs" className="faint" style={{ fontSize: 12 }}>
            {t("nav.docs")}
          </Link>
        </Group>
      </div>
    </main>
  );
}
