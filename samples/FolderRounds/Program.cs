using FolderRounds;
using Microsoft.Extensions.Hosting;

// the settings are found beside the program, wherever it is started from
var settings = new HostApplicationBuilderSettings { Args = args, ContentRootPath = AppContext.BaseDirectory };
HostApplicationBuilder builder = Host.CreateApplicationBuilder(settings);
builder.AddFolderRounds();
return await FolderRoundsHost.RunAsync(builder.Build());
