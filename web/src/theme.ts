import { createTheme, type MantineColorsTuple } from "@mantine/core";
import { useMemo } from "react";
import { useTranslation } from "react-i18next";

const ai: MantineColorsTuple = ["#eef3f9", "#dbe4ef", "#b5c8de", "#8ca9cd", "#698fbe", "#527eb6", "#4575b2", "#36649d", "#2c588d", "#1d4c7e"];
const shu: MantineColorsTuple = ["#fdefec", "#f6dcd6", "#ebb6aa", "#e08e7b", "#d76b53", "#d2553a", "#d04a2d", "#b73b20", "#a4331b", "#902914"];

/** With the names of what has no words of its own, in the user's language. */
export function useTheme() {
  const { t, i18n } = useTranslation();
  return useMemo(() => themeOf(t("common.close"), t("login.showPassword")), [t, i18n.language]);
}

const themeOf = (close: string, show: string) => createTheme({
  primaryColor: "ai",
  primaryShade: { light: 8, dark: 5 },
  colors: { ai, shu },
  fontFamily: '"Hiragino Sans", "Noto Sans JP", "Noto Sans CJK JP", "Yu Gothic UI", Meiryo, system-ui, sans-serif',
  fontFamilyMonospace: 'ui-monospace, "Cascadia Mono", "Noto Sans Mono CJK JP", monospace',
  defaultRadius: "sm",
  cursorType: "pointer",
  headings: { fontWeight: "650", sizes: { h1: { fontSize: "1.35rem" }, h2: { fontSize: "1.1rem" }, h3: { fontSize: "0.95rem" }, h4: { fontSize: "0.85rem" } } },
  components: {
    Button: { defaultProps: { size: "xs" } },
    TextInput: { defaultProps: { size: "xs" } },
    PasswordInput: { defaultProps: { size: "sm", visibilityToggleButtonProps: { "aria-label": show } } },
    Textarea: { defaultProps: { size: "xs" } },
    Select: { defaultProps: { size: "xs", allowDeselect: false, checkIconPosition: "right" } },
    MultiSelect: { defaultProps: { size: "xs" } },
    NumberInput: { defaultProps: { size: "xs" } },
    NativeSelect: { defaultProps: { size: "xs" } },
    FileInput: { defaultProps: { size: "xs" } },
    Checkbox: { defaultProps: { size: "xs" } },
    SegmentedControl: { defaultProps: { size: "xs" } },
    Table: { defaultProps: { verticalSpacing: 5, horizontalSpacing: "xs", fz: "sm", highlightOnHover: true } },
    Badge: { defaultProps: { radius: "sm", variant: "light", tt: "none" } },
    Modal: { defaultProps: { centered: true, transitionProps: { duration: 0 }, closeButtonProps: { "aria-label": close } } },
    Drawer: { defaultProps: { closeButtonProps: { "aria-label": close } } },
    Tooltip: { defaultProps: { openDelay: 300 } },
  },
});
