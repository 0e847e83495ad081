"""The look of the page: a style sheet, a script, and Gradio's own variables set to match."""

from __future__ import annotations

from pathlib import Path
from typing import Any

THEME = Path(__file__).parent / "files"
"""Served as they are, under ``page/``."""

HEAD = '<link rel="stylesheet" href="page/page.css"><script src="page/page.js" defer></script>'

_FONT = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
_MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]


def gradio_theme(gr: Any) -> Any:
    """Give Gradio's plainest theme with the page's colours, and with the fonts of the user's own machine."""
    theme = gr.themes.Base(font=_FONT, font_mono=_MONO, radius_size="lg", spacing_size="md")
    values = {
        "body_background_fill": "var(--paper)",
        "body_text_color": "var(--ink)",
        "body_text_color_subdued": "var(--soft)",
        "background_fill_primary": "var(--card)",
        "background_fill_secondary": "var(--paper)",
        "block_background_fill": "transparent",
        "block_border_color": "transparent",
        "block_border_width": "0px",
        "block_label_text_color": "var(--soft)",
        "block_title_text_color": "var(--soft)",
        "block_info_text_color": "var(--soft)",
        "block_shadow": "none",
        "border_color_primary": "var(--line)",
        "border_color_accent": "var(--focus)",
        "color_accent": "var(--focus)",
        "color_accent_soft": "var(--tint)",
        "input_background_fill": "var(--card)",
        "input_background_fill_focus": "var(--card)",
        "input_border_color": "var(--edge)",
        "input_border_color_focus": "var(--focus)",
        "input_placeholder_color": "var(--soft)",
        "input_shadow_focus": "none",
        "slider_color": "var(--ink)",
        "button_primary_background_fill": "var(--ink)",
        "button_primary_background_fill_hover": "var(--ink)",
        "button_primary_text_color": "var(--paper)",
        "button_primary_text_color_hover": "var(--paper)",
        "button_primary_border_color": "var(--ink)",
        "button_secondary_background_fill": "transparent",
        "button_secondary_background_fill_hover": "var(--tint)",
        "button_secondary_text_color": "var(--ink)",
        "button_secondary_text_color_hover": "var(--ink)",
        "button_secondary_border_color": "var(--edge)",
        "checkbox_background_color_selected": "var(--ink)",
        "checkbox_border_color": "var(--edge)",
        "checkbox_label_text_color": "var(--ink)",
        "checkbox_label_background_fill": "transparent",
        "panel_background_fill": "transparent",
    }
    dark = {f"{name}_dark": value for name, value in values.items()}
    return theme.set(**values, **{name: value for name, value in dark.items() if hasattr(theme, name)})
