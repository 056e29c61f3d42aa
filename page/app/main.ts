import { mount } from 'svelte';
import './tokens.css';
import './base.css';
import App from './App.svelte';
import { keyboard } from './keyboard.svelte.ts';
import { applyPrefs, localeOf, readPrefs } from './prefs.ts';
import { router } from './router.svelte.ts';
import { speak } from './words/localized.ts';

applyPrefs(readPrefs());
router.start();
keyboard.start();
const target = document.getElementById('app');
if (target) void speak(localeOf(readPrefs())).then(() => mount(App, { target }));
