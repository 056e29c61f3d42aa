import { mount } from 'svelte';
import './tokens.css';
import './base.css';
import App from './App.svelte';
import { keyboard } from './keyboard.svelte.ts';
import { applyPrefs, readPrefs } from './prefs.ts';
import { router } from './router.svelte.ts';

applyPrefs(readPrefs());
router.start();
keyboard.start();
const target = document.getElementById('app');
if (target) mount(App, { target });
