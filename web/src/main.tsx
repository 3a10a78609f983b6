import "@mantine/core/styles.css";
import "@mantine/notifications/styles.css";
import "./page.css";
import "./i18n";
import { MantineProvider } from "@mantine/core";
import { Notifications } from "@mantine/notifications";
import { QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { setNonce } from "get-nonce";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { cache } from "./cache";
import { holdEnterWhileComposing } from "./keyboard";
import { router } from "./router";
import { useTheme } from "./theme";

// A page of the release before is asked for by a tab that is older than the server's: loaded again, the tab knows the new names. Once a
// minute, lest a server without that file keeps it going round.
window.addEventListener("vite:preloadError", (event) => {
  const last = Number(sessionStorage.getItem("enishi.reloaded") ?? 0);
  if (Date.now() - last < 60_000) return;
  sessionStorage.setItem("enishi.reloaded", String(Date.now()));
  event.preventDefault();
  window.location.reload();
});

holdEnterWhileComposing();

const nonce = document.querySelector<HTMLMetaElement>('meta[property="csp-nonce"]')?.nonce ?? "";
setNonce(nonce);

function App() {
  return (
    <MantineProvider theme={useTheme()} defaultColorScheme="auto" getStyleNonce={() => nonce}>
      <Notifications position="bottom-right" autoClose={5000} />
      <QueryClientProvider client={cache}>
        <RouterProvider router={router} />
      </QueryClientProvider>
    </MantineProvider>
  );
}

createRoot(document.getElementById("root") as HTMLElement).render(<StrictMode><App /></StrictMode>);
